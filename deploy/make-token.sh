#!/bin/sh
# Makes the compose file's SoftHSM2 token, once: PIN file (mode 0600), softhsm2.conf, the token itself; and the workers' HTTP token.
set -eu
umask 077
cd /token

if [ -f ready ]; then
  echo 'the token exists'
  exit 0
fi

digits() { od -An -N16 -tu1 /dev/urandom | tr -dc '0-9' | cut -c1-12; }

mkdir -p tokens
printf '%s\n' 'directories.tokendir = /token/tokens' 'objectstore.backend = file' 'log.level = ERROR' >softhsm2.conf
digits | tr -d '\n' >pin
od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >worker-token
# softhsm2-util takes PINs only as arguments; it runs for milliseconds, alone in its container.
softhsm2-util --init-token --free --label keyturn --pin "$(cat pin)" --so-pin "$(digits)"
touch ready
