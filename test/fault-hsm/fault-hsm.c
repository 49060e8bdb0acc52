/*
 * A PKCS#11 module that forwards all calls to another one, with the faults that its control file lists.
 * README.md describes the control file and the files that tests can read.
 */
#include "control.h"
#include "iv-modes.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST ours;
/* Written while all sessions are dropped, read during every other call: a session must not end during a call. */
static pthread_rwlock_t sessions = PTHREAD_RWLOCK_INITIALIZER;
/* Added to each key's handle, so that handles from before `handles stale` are recognized. */
static CK_ULONG generation;
static CK_SLOT_ID used_slot;
static bool has_slot;
/* Whether this process has called C_Initialize, and whether `dead` applies to it until its C_Finalize. */
static bool initialized, dead;

#define FOREIGN_SLOT 9000UL
#define SLOT_BITS 40
#define HANDLE_BITS 32
#define REAL_SLOT(slot) ((slot) & ((1UL << SLOT_BITS) - 1))
#define REAL_HANDLE(handle) ((handle) & ((1UL << HANDLE_BITS) - 1))
#define OUR_HANDLE(handle) ((handle) | generation << HANDLE_BITS)

/* The present settings. Dropped sessions and stale handles take effect when this process first reads them. */
static struct settings look(void) {
  struct settings now;
  if (!control_refresh(&now)) return now;
  if (now.dead != CKR_OK && initialized) dead = true;
  if (now.stale) __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
  if (now.drop && has_slot) {
    pthread_rwlock_wrlock(&sessions);
    real->C_CloseAllSessions(used_slot);
    control_sessions_gone();
    pthread_rwlock_unlock(&sessions);
  }
  return now;
}

/* Begins a call. Returns the answer if the real module is not called, else CKR_OK. */
static CK_RV begin(const char *function, struct settings *now, struct verdict *verdict) {
  *now = look();
  *verdict = control_meet(function);
  if (verdict->answer != CKR_OK) return verdict->answer;
  if (!now->removed) return CKR_OK;
  bool opens = strcmp(function, "C_OpenSession") == 0 || strcmp(function, "C_GetTokenInfo") == 0;
  control_leave(function);
  return opens ? CKR_TOKEN_NOT_PRESENT : CKR_DEVICE_REMOVED;
}

#define BEGIN(function)                         \
  struct settings now;                          \
  struct verdict verdict;                       \
  CK_RV rv = begin(#function, &now, &verdict);  \
  if (rv != CKR_OK) return rv;

#define REAL(call)                   \
  pthread_rwlock_rdlock(&sessions);  \
  rv = real->call;                   \
  pthread_rwlock_unlock(&sessions);

#define IS_STALE(handle) ((handle) >> HANDLE_BITS != generation)

static CK_RV our_C_Initialize(CK_VOID_PTR arguments) {
  look();
  struct verdict verdict = control_meet("C_Initialize");
  CK_RV rv = verdict.answer != CKR_OK ? verdict.answer : real->C_Initialize(arguments);
  if (rv == CKR_OK) initialized = true;
  control_log("C_Initialize", rv, 0);
  return rv;
}

static CK_RV our_C_Finalize(CK_VOID_PTR reserved) {
  look();
  struct verdict verdict = control_meet("C_Finalize");
  CK_RV rv = verdict.answer != CKR_OK ? verdict.answer : real->C_Finalize(reserved);
  if (rv == CKR_OK) initialized = dead = false, control_sessions_gone();
  control_log("C_Finalize", rv, 0);
  return rv;
}

static CK_RV our_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  struct settings now = look();
  struct verdict verdict = control_meet("C_GetSlotList");
  if (verdict.answer != CKR_OK) return verdict.answer;
  if (now.removed && present) return *count = 0, CKR_OK;
  CK_SLOT_ID all[1024];
  CK_ULONG there = 1024, copies = now.slots == 0 ? 1 : now.slots;
  CK_RV rv = real->C_GetSlotList(present, all, &there);
  if (rv != CKR_OK) return rv;
  CK_ULONG in_all = there * copies + (CK_ULONG)now.foreign_count;
  if (list != NULL && *count < in_all) return *count = in_all, CKR_BUFFER_TOO_SMALL;
  for (CK_ULONG i = 0; list != NULL && i < there * copies; i++)
    list[i] = all[i % there] | i / there << SLOT_BITS;
  for (CK_ULONG i = 0; list != NULL && i < (CK_ULONG)now.foreign_count; i++)
    list[there * copies + i] = FOREIGN_SLOT + i;
  *count = in_all;
  return CKR_OK;
}

/* The answer of a foreign slot to every call; each call is logged, with the slot as the last number. */
static CK_RV foreign(const struct settings *now, const char *function, CK_SLOT_ID slot) {
  if (slot < FOREIGN_SLOT || slot >= FOREIGN_SLOT + (CK_ULONG)now->foreign_count) return CKR_OK;
  CK_RV rv = now->foreign[slot - FOREIGN_SLOT];
  control_log(function, rv, slot);
  return rv;
}

#define FOREIGN(function)                  \
  rv = foreign(&now, #function, slot);     \
  if (rv != CKR_OK) return rv;

static CK_RV our_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info) {
  BEGIN(C_GetSlotInfo)
  FOREIGN(C_GetSlotInfo)
  REAL(C_GetSlotInfo(REAL_SLOT(slot), info))
  return rv;
}

static CK_RV our_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
  BEGIN(C_GetTokenInfo)
  FOREIGN(C_GetTokenInfo)
  REAL(C_GetTokenInfo(REAL_SLOT(slot), info))
  if (rv != CKR_OK) return rv;
  info->flags |= now.pin_flags;
  if (now.sessions > 0) info->ulMaxRwSessionCount = info->ulMaxSessionCount = now.sessions;
  if (now.distinct_serials) info->serialNumber[15] = (CK_BYTE)('A' + (slot >> SLOT_BITS) % 26);
  return CKR_OK;
}

static bool is_hidden(const struct settings *now, CK_MECHANISM_TYPE type) {
  for (int i = 0; i < now->hidden_count; i++) if (now->hidden[i] == type) return true;
  return false;
}

static CK_RV our_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count) {
  BEGIN(C_GetMechanismList)
  FOREIGN(C_GetMechanismList)
  REAL(C_GetMechanismList(REAL_SLOT(slot), list, count))
  if (rv != CKR_OK || list == NULL) return rv;
  CK_ULONG kept = 0;
  for (CK_ULONG i = 0; i < *count; i++)
    if (!is_hidden(&now, list[i])) list[kept++] = list[i];
  *count = kept;
  return CKR_OK;
}

static CK_RV our_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info) {
  BEGIN(C_GetMechanismInfo)
  FOREIGN(C_GetMechanismInfo)
  if (is_hidden(&now, type)) return CKR_MECHANISM_INVALID;
  REAL(C_GetMechanismInfo(REAL_SLOT(slot), type, info))
  return rv;
}

static CK_RV our_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR s) {
  BEGIN(C_OpenSession)
  FOREIGN(C_OpenSession)
  if (!control_sessions(1, now.sessions)) return CKR_SESSION_COUNT;
  REAL(C_OpenSession(REAL_SLOT(slot), flags, app, notify, s))
  if (rv != CKR_OK) control_sessions(-1, 0);
  used_slot = REAL_SLOT(slot);
  has_slot = true;
  return rv;
}

static CK_RV our_C_CloseSession(CK_SESSION_HANDLE s) {
  BEGIN(C_CloseSession)
  REAL(C_CloseSession(s))
  if (rv == CKR_OK) control_sessions(-1, 0);
  return rv;
}

static CK_RV our_C_GetSessionInfo(CK_SESSION_HANDLE s, CK_SESSION_INFO_PTR info) {
  BEGIN(C_GetSessionInfo)
  REAL(C_GetSessionInfo(s, info))
  return rv;
}

static CK_RV our_C_Login(CK_SESSION_HANDLE s, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
  struct settings now;
  struct verdict verdict;
  CK_RV rv = begin("C_Login", &now, &verdict);
  if (rv == CKR_OK) rv = now.login;
  if (rv == CKR_OK && now.has_user && user != now.user) rv = CKR_USER_TYPE_INVALID;
  if (rv == CKR_OK) {
    REAL(C_Login(s, now.has_user ? CKU_USER : user, pin, length))
  }
  control_log("C_Login", rv, user);
  return rv;
}

static CK_RV our_C_FindObjectsInit(CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR t, CK_ULONG n) {
  BEGIN(C_FindObjectsInit)
  REAL(C_FindObjectsInit(s, t, n))
  return rv;
}

static CK_RV our_C_FindObjects(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE_PTR list, CK_ULONG most, CK_ULONG_PTR count) {
  BEGIN(C_FindObjects)
  REAL(C_FindObjects(s, list, most, count))
  for (CK_ULONG i = 0; rv == CKR_OK && i < *count; i++) list[i] = OUR_HANDLE(list[i]);
  return rv;
}

static CK_RV our_C_FindObjectsFinal(CK_SESSION_HANDLE s) {
  BEGIN(C_FindObjectsFinal)
  REAL(C_FindObjectsFinal(s))
  return rv;
}

static CK_RV our_C_GetAttributeValue(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o, CK_ATTRIBUTE_PTR t, CK_ULONG n) {
  BEGIN(C_GetAttributeValue)
  if (IS_STALE(o)) return CKR_OBJECT_HANDLE_INVALID;
  REAL(C_GetAttributeValue(s, REAL_HANDLE(o), t, n))
  for (CK_ULONG i = 0; i < n; i++) {
    for (int k = 0; k < now.attribute_count; k++) {
      if (now.attributes[k].type != t[i].type) continue;
      long length = now.attributes[k].length;
      if (length < 0) return t[i].ulValueLen = CK_UNAVAILABLE_INFORMATION, CKR_ATTRIBUTE_TYPE_INVALID;
      if (t[i].pValue != NULL && t[i].ulValueLen >= (CK_ULONG)length) memcpy(t[i].pValue, now.attributes[k].value, length);
      t[i].ulValueLen = (CK_ULONG)length;
    }
  }
  return rv;
}

/* Whether the value of a key with this template is known or readable. */
static bool is_plain(CK_ATTRIBUTE_PTR t, CK_ULONG n) {
  for (CK_ULONG i = 0; i < n; i++) {
    if (t[i].type == CKA_VALUE) return true;
    if (t[i].type == CKA_EXTRACTABLE && *(CK_BBOOL *)t[i].pValue) return true;
  }
  return false;
}

static CK_RV our_C_CreateObject(CK_SESSION_HANDLE s, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR o) {
  BEGIN(C_CreateObject)
  if (now.no_plain_keys && is_plain(t, n)) return CKR_TEMPLATE_INCONSISTENT;
  REAL(C_CreateObject(s, t, n, o))
  if (rv == CKR_OK) *o = OUR_HANDLE(*o);
  return rv;
}

static CK_RV our_C_GenerateKey(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_ATTRIBUTE_PTR t, CK_ULONG n, CK_OBJECT_HANDLE_PTR k) {
  BEGIN(C_GenerateKey)
  if (now.no_plain_keys && is_plain(t, n)) return CKR_TEMPLATE_INCONSISTENT;
  REAL(C_GenerateKey(s, m, t, n, k))
  if (rv == CKR_OK) *k = OUR_HANDLE(*k);
  return rv;
}

static CK_RV our_C_DestroyObject(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE o) {
  BEGIN(C_DestroyObject)
  if (IS_STALE(o)) return CKR_OBJECT_HANDLE_INVALID;
  REAL(C_DestroyObject(s, REAL_HANDLE(o)))
  return rv;
}

/* The four crypt functions differ only in their names. */
#define CRYPT(Encrypt, encrypt)                                                                          \
  static CK_RV our_C_##Encrypt##Init(CK_SESSION_HANDLE s, CK_MECHANISM_PTR m, CK_OBJECT_HANDLE k) {      \
    BEGIN(C_##Encrypt##Init)                                                                             \
    if (dead) return now.dead;                                                                           \
    if (IS_STALE(k)) return CKR_KEY_HANDLE_INVALID;                                                      \
    if (is_hidden(&now, m->mechanism)) return CKR_MECHANISM_INVALID;                                     \
    pthread_rwlock_rdlock(&sessions);                                                                    \
    rv = iv_##encrypt##_init(real, &now, s, m, REAL_HANDLE(k));                                          \
    pthread_rwlock_unlock(&sessions);                                                                    \
    return rv;                                                                                           \
  }                                                                                                      \
  static CK_RV our_C_##Encrypt(CK_SESSION_HANDLE s, CK_BYTE_PTR d, CK_ULONG n, CK_BYTE_PTR out, CK_ULONG_PTR length) { \
    BEGIN(C_##Encrypt)                                                                                   \
    pthread_rwlock_rdlock(&sessions);                                                                    \
    rv = iv_##encrypt(real, &now, s, d, n, out, length);                                                 \
    pthread_rwlock_unlock(&sessions);                                                                    \
    control_leave("C_" #Encrypt);                                                                        \
    if (verdict.corrupt && rv == CKR_OK && out != NULL && *length > 0) out[*length / 2] ^= 1;            \
    return rv;                                                                                           \
  }
CRYPT(Encrypt, encrypt)
CRYPT(Decrypt, decrypt)

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  if (real == NULL) {
    const char *path = getenv("FAULT_HSM_MODULE");
    void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW);
    CK_C_GetFunctionList get = module == NULL ? NULL : (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
    if (get == NULL) {
      fprintf(stderr, "fault-hsm: FAULT_HSM_MODULE must be the path of a PKCS#11 module: %s\n", path ? dlerror() : "it is not set");
      return CKR_GENERAL_ERROR;
    }
    CK_RV rv = get(&real);
    if (rv != CKR_OK) return rv;
    ours = *real;
#define OUR(name) ours.name = our_##name
    OUR(C_Initialize), OUR(C_Finalize), OUR(C_GetSlotList), OUR(C_GetSlotInfo), OUR(C_GetTokenInfo), OUR(C_GetMechanismList);
    OUR(C_GetMechanismInfo), OUR(C_OpenSession), OUR(C_CloseSession), OUR(C_GetSessionInfo), OUR(C_Login);
    OUR(C_FindObjectsInit), OUR(C_FindObjects), OUR(C_FindObjectsFinal), OUR(C_GetAttributeValue);
    OUR(C_CreateObject), OUR(C_GenerateKey), OUR(C_DestroyObject), OUR(C_EncryptInit), OUR(C_Encrypt), OUR(C_DecryptInit), OUR(C_Decrypt);
  }
  *list = &ours;
  return CKR_OK;
}
