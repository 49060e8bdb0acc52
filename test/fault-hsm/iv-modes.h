/* CKM_AES_GCM as in vendors' modules that make the IV themselves, over a module that takes the caller's IV. */
#ifndef IV_MODES_H
#define IV_MODES_H
#include "control.h"

CK_RV iv_encrypt_init(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session,
                      CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key);
CK_RV iv_encrypt(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session, CK_BYTE_PTR data,
                 CK_ULONG length, CK_BYTE_PTR out, CK_ULONG_PTR out_length);
CK_RV iv_decrypt_init(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session,
                      CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key);
CK_RV iv_decrypt(CK_FUNCTION_LIST_PTR real, const struct settings *now, CK_SESSION_HANDLE session, CK_BYTE_PTR data,
                 CK_ULONG length, CK_BYTE_PTR out, CK_ULONG_PTR out_length);
#endif
