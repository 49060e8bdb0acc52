#include "iv-modes.h"
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

/*
 * hsm-writes: pIv is 12 zero bytes; the IV is written there by C_Encrypt, not before (AWS CloudHSM, CKM_AES_GCM).
 * ignored: pIv is accepted and not used; a fixed IV is used in both directions, which breaks GCM.
 * prefix, suffix: pIv is NULL; the IV is before the ciphertext, or after the tag. A decrypt takes it as a parameter, or
 * `joined` with the data, pIv being NULL.
 */
#define MOST 1024
#define LONGEST_AAD 512

struct operation {
  CK_SESSION_HANDLE session;
  CK_BYTE iv[16], aad[LONGEST_AAD];
  CK_ULONG aad_length, tag_bits;
  CK_BYTE_PTR write_to;
  CK_OBJECT_HANDLE key;
  bool deferred; /* C_DecryptInit waits for the data, which contains the IV */
};

static struct operation operations[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The row of a session; a session is used by one thread at a time. Rows of closed sessions are reused. */
static struct operation *operation_of(CK_SESSION_HANDLE session) {
  pthread_mutex_lock(&lock);
  struct operation *found = NULL;
  for (int i = 0; i < MOST && found == NULL; i++) {
    if (operations[i].session == session || operations[i].session == 0) found = &operations[i];
  }
  if (found == NULL) memset(operations, 0, sizeof operations), found = &operations[0];
  found->session = session;
  pthread_mutex_unlock(&lock);
  return found;
}

static bool is_gcm(CK_MECHANISM_PTR mechanism) {
  return mechanism->mechanism == CKM_AES_GCM && mechanism->pParameter != NULL &&
         mechanism->ulParameterLen == sizeof(CK_GCM_PARAMS);
}

static CK_RV init_with(CK_RV (*init)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE), CK_GCM_PARAMS *given,
                       CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE_PTR iv, CK_ULONG length) {
  CK_GCM_PARAMS params = *given;
  params.pIv = iv;
  params.ulIvLen = length;
  params.ulIvBits = 8 * length;
  CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof params};
  return init(session, &mechanism, key);
}

static bool all_zero(const CK_BYTE *bytes, CK_ULONG length) {
  for (CK_ULONG i = 0; i < length; i++) if (bytes[i] != 0) return false;
  return true;
}

/* The IV of one wrap, made by this module. */
static bool make_iv(const struct settings *now, struct operation *operation) {
  memset(operation->iv, 7, sizeof operation->iv);
  if (now->iv_source == IV_RANDOM) return getrandom(operation->iv, sizeof operation->iv, 0) == sizeof operation->iv;
  unsigned long count = now->iv_source == IV_COUNTING ? control_next() : 0;
  if (now->iv_period > 0) count %= now->iv_period;
  for (CK_ULONG i = 0; i < 8 && i < now->iv_length; i++) operation->iv[now->iv_length - 1 - i] = (CK_BYTE)(count >> 8 * i);
  return true;
}

CK_RV iv_encrypt_init(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session,
                      CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
  if (now->iv == IV_CALLER || !is_gcm(mechanism)) return real->C_EncryptInit(session, mechanism, key);
  CK_GCM_PARAMS *params = mechanism->pParameter;
  static CK_BYTE always[12] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
  if (now->iv == IV_IGNORED) {
    if (params->ulIvLen != 12) return CKR_MECHANISM_PARAM_INVALID;
    return init_with(real->C_EncryptInit, params, session, key, always, 12);
  }
  bool writes = now->iv == IV_HSM_WRITES;
  if (writes && (params->pIv == NULL || params->ulIvLen != now->iv_length || !all_zero(params->pIv, params->ulIvLen)))
    return CKR_MECHANISM_PARAM_INVALID;
  if (!writes && params->ulIvLen != 0) return CKR_MECHANISM_PARAM_INVALID;
  struct operation *operation = operation_of(session);
  if (!make_iv(now, operation)) return CKR_GENERAL_ERROR;
  operation->write_to = writes ? params->pIv : NULL;
  return init_with(real->C_EncryptInit, params, session, key, operation->iv, now->iv_length);
}

CK_RV iv_encrypt(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session, CK_BYTE_PTR data,
                 CK_ULONG length, CK_BYTE_PTR out, CK_ULONG_PTR out_length) {
  struct operation *operation = now->iv <= IV_IGNORED ? NULL : operation_of(session);
  bool apart = now->iv == IV_PREFIX || now->iv == IV_SUFFIX;
  CK_ULONG room = apart ? now->iv_length : 0;
  if (out == NULL || *out_length < room) return real->C_Encrypt(session, data, length, out, out_length);
  CK_ULONG written = *out_length - room;
  CK_RV rv = real->C_Encrypt(session, data, length, now->iv == IV_PREFIX ? out + room : out, &written);
  if (rv != CKR_OK) return rv;
  *out_length = written + room;
  if (now->iv == IV_PREFIX) memcpy(out, operation->iv, room);
  if (now->iv == IV_SUFFIX) memcpy(out + written, operation->iv, room);
  if (operation != NULL && operation->write_to != NULL) memcpy(operation->write_to, operation->iv, now->iv_length);
  return CKR_OK;
}

CK_RV iv_decrypt_init(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session,
                      CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
  static CK_BYTE always[12] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
  if (now->iv == IV_IGNORED && is_gcm(mechanism))
    return init_with(real->C_DecryptInit, mechanism->pParameter, session, key, always, 12);
  bool joins = (now->iv == IV_PREFIX || now->iv == IV_SUFFIX) && now->iv_joined;
  if (!joins || !is_gcm(mechanism)) return real->C_DecryptInit(session, mechanism, key);
  CK_GCM_PARAMS *params = mechanism->pParameter;
  if (params->ulIvLen != 0 || params->ulAADLen > LONGEST_AAD) return CKR_MECHANISM_PARAM_INVALID;
  struct operation *operation = operation_of(session);
  memcpy(operation->aad, params->pAAD, params->ulAADLen);
  operation->aad_length = params->ulAADLen;
  operation->tag_bits = params->ulTagBits;
  operation->key = key;
  operation->deferred = true;
  return CKR_OK;
}

CK_RV iv_decrypt(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session, CK_BYTE_PTR data,
                 CK_ULONG length, CK_BYTE_PTR out, CK_ULONG_PTR out_length) {
  struct operation *operation = now->iv <= IV_IGNORED ? NULL : operation_of(session);
  if (operation == NULL || !operation->deferred) return real->C_Decrypt(session, data, length, out, out_length);
  operation->deferred = false;
  if (length < now->iv_length) return CKR_ENCRYPTED_DATA_LEN_RANGE;
  CK_BYTE_PTR iv = now->iv == IV_PREFIX ? data : data + length - now->iv_length;
  if (now->iv == IV_PREFIX) data += now->iv_length;
  CK_GCM_PARAMS params = {0};
  params.pAAD = operation->aad;
  params.ulAADLen = operation->aad_length;
  params.ulTagBits = operation->tag_bits;
  CK_RV rv = init_with(real->C_DecryptInit, &params, session, operation->key, iv, now->iv_length);
  return rv == CKR_OK ? real->C_Decrypt(session, data, length - now->iv_length, out, out_length) : rv;
}
