/** The return codes that Keyturn compares with, numbered as in PKCS#11 v3.1, section 6 ("pkcs11t.h"). */
export const CKR_GENERAL_ERROR = 5
export const CKR_FUNCTION_FAILED = 6
export const CKR_ARGUMENTS_BAD = 7
export const CKR_ATTRIBUTE_SENSITIVE = 17
export const CKR_ATTRIBUTE_TYPE_INVALID = 18
export const CKR_KEY_FUNCTION_NOT_PERMITTED = 104
export const CKR_MECHANISM_PARAM_INVALID = 113
export const CKR_PIN_LOCKED = 164
export const CKR_SESSION_COUNT = 177
export const CKR_USER_ALREADY_LOGGED_IN = 256
export const CKR_USER_NOT_LOGGED_IN = 257
export const CKR_USER_TYPE_INVALID = 259
export const CKR_CRYPTOKI_ALREADY_INITIALIZED = 401
