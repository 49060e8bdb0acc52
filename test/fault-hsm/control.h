/*
 * The control of the fault module: rules from the control file, and the memory that all processes with this control
 * file share (counters, uses of each rule, sessions of each process). README.md describes the control file.
 */
#ifndef CONTROL_H
#define CONTROL_H
#include <stdbool.h>
#define CK_PTR *
#define CK_DECLARE_FUNCTION(returnType, name) returnType name
#define CK_DECLARE_FUNCTION_POINTER(returnType, name) returnType(*name)
#define CK_CALLBACK_FUNCTION(returnType, name) returnType(*name)
#ifndef NULL_PTR
#define NULL_PTR 0
#endif
#include <pkcs11/pkcs11.h>

enum iv_mode { IV_CALLER, IV_IGNORED, IV_HSM_WRITES, IV_PREFIX, IV_SUFFIX };
enum iv_source { IV_RANDOM, IV_COUNTING, IV_FIXED };

/* The settings of the control file other than rules for single functions. Numbers are 0 if the file does not set them. */
struct settings {
  enum iv_mode iv;
  enum iv_source iv_source;
  CK_ULONG iv_period; /* of a count that restarts */
  CK_ULONG iv_length;
  bool iv_joined; /* a decrypt takes the IV in one piece with the data */
  bool removed, drop, stale;
  bool no_plain_keys; /* refuses keys whose value is known or readable, as in FIPS mode */
  CK_RV dead;         /* answer to crypt calls of processes initialized before this edition, until their C_Finalize */
  CK_RV foreign[8];   /* one more slot for each, whose token answers C_GetTokenInfo with it */
  int foreign_count;
  CK_ULONG user;      /* the only user type that C_Login accepts */
  bool has_user;
  CK_ULONG sessions, slots;
  bool distinct_serials;
  CK_FLAGS pin_flags;
  CK_RV login;
  CK_ULONG hidden[8]; /* mechanisms */
  int hidden_count;
  struct { CK_ATTRIBUTE_TYPE type; CK_BYTE value[64]; long length; } attributes[8]; /* length -1: not there */
  int attribute_count;
  long per_second, at_once;
};

/* What happens to one call, decided at its beginning. */
struct verdict {
  CK_RV answer;
  bool corrupt;
};

/* Reads the control file if it changed; true when this process sees it for the first time. */
bool control_refresh(struct settings *out);
/* After control_refresh: counts the call and waits for its latency. Does not return if the call hangs or crashes. */
struct verdict control_meet(const char *function);
void control_count(const char *name);
/* The end of a crypt call that control_meet let through. */
void control_leave(const char *function);
/* Adds `change` to the open sessions of this process; false if all processes together have `limit` sessions already. */
bool control_sessions(long change, CK_ULONG limit);
void control_sessions_gone(void);
/* The next number of a count that all processes share. */
unsigned long control_next(void);
/* A line in <control>.log: function, answer, process, parent process, user type of a C_Login. */
void control_log(const char *function, CK_RV rv, CK_ULONG user);
#endif
