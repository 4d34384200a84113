#!/bin/sh
# Installs voicekeeper as a systemd service, upgrades it, and removes it. See --help.
set -eu

# What root runs is not chosen by the folder it stands in, nor by another user's environment. Of
# that only pip's own variables and proxies are obeyed; Python runs with -I throughout.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=~root
export PATH HOME
for name in CDPATH TEMP TMP \
  $(env | sed -nE 's/^((PYTHON|XDG_|SETUPTOOLS_|DIST)[A-Z0-9_]*)=.*/\1/p'); do
  unset "$name"
done
umask 022
trap '' PIPE

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/voicekeeper
config=/etc/voicekeeper
state=/var/lib/voicekeeper
units=/etc/systemd/system
sysusers=/etc/sysusers.d/voicekeeper.conf
program=/usr/local/bin/voicekeeper
manual=/usr/local/share/man/man1/voicekeeper.1
python=/usr/bin/python3
names="voicekeeper.service voicekeeper@.service voicekeeper-once.service voicekeeper-once.timer"
why="'journalctl -u voicekeeper' tells why"

usage() {
  cat <<END
Usage: systemd/install.sh [--from WHAT] [--key FILE]
       systemd/install.sh --uninstall

Install voicekeeper as a systemd service, or upgrade it. Run it as root, and as
often as you like: what is there is left alone, or brought up to date.

  --from WHAT   what pip is to install, such as a wheel (else this directory)
  --key FILE    take the API key from this file; - asks for it on a terminal,
                without showing it, and else reads it from stdin
  --uninstall   stop the service and remove the program and its units

It makes the user voicekeeper and a virtual environment of $python in
$home, puts the units in $units and the manual page where
'man voicekeeper' finds it, and writes $config/config.toml if
there is none. The first time it also enables and starts the service, if there
is a key. An upgrade keeps the extras (apprise, psycopg) and a unit that you
changed, and restarts what runs or has failed; what you stopped stays stopped.
If anything fails, version, key, settings and units are as they were before.

Your settings, the key, the registry and the user are never removed.
END
}

fail() {
  echo "install.sh: $1" >&2
  exit "${2:-1}"
}

say() {  # a reader of this that has gone is no reason to stop half-way
  echo "$1" 2>/dev/null || true
}

# try WHAT COMMAND...: run it in silence; if it fails, say what failed and its last word.
try() {
  what=$1
  shift
  words=$("$@" 2>&1) || fail "$what: $(printf '%s\n' "$words" | grep . | tail -n 1)"
}

listed() {  # listed STATES: the daemons and the timer that are in one of these states
  systemctl list-units --plain --no-legend --state="$1" \
    voicekeeper.service 'voicekeeper@*.service' voicekeeper-once.timer | awk '{ print $1 }'
}

running() {  # what runs, is starting, or waits to be started again
  listed active,activating,reloading
}

uninstall() {
  for unit in voicekeeper-once.timer voicekeeper-once.service voicekeeper.service \
    $(systemctl list-units --all --plain --no-legend 'voicekeeper@*.service' | awk '{ print $1 }') \
    $(cd "$units" && find . -name 'voicekeeper@?*.service' -type l | sed 's|.*/||'); do
    if systemctl cat "$unit" >/dev/null 2>&1; then
      try "cannot stop $unit" systemctl disable --now "$unit"
    fi
  done
  for unit in $names; do rm -f "$units/$unit"; done
  rm -f "$sysusers"
  for link in "$program" "$manual"; do
    case $(readlink "$link" 2>/dev/null || true) in "$home"/*) rm -f "$link" ;; esac
  done
  rm -rf "$home"
  try "cannot have systemd forget the units" systemctl daemon-reload
  echo "voicekeeper is removed. What is yours stays: $config, $state*, the user."
}

read_key() {  # print the key as the program itself takes it, or say why it takes none
  $python -I -B -c '
import getpass, os, pathlib, sys, tempfile
sys.path.insert(0, sys.argv[1])
from voicekeeper.config import Settings, find_api_key
from voicekeeper.config.key import CREDENTIAL
from voicekeeper.errors import ConfigError

if sys.argv[2] != "-":
    with open(sys.argv[2], "rb") as file:
        written = file.read(1 << 16)
elif sys.stdin.isatty():
    try:
        written = os.fsencode(getpass.getpass("API key (it is not shown): "))
    except (EOFError, KeyboardInterrupt):
        sys.exit("\ninstall.sh: no API key was given; nothing was changed")
else:
    written = sys.stdin.buffer.read(1 << 16)
with tempfile.TemporaryDirectory(dir="/run") as place:
    pathlib.Path(place, CREDENTIAL).write_bytes(written)
    try:
        found = find_api_key(Settings(), {"CREDENTIALS_DIRECTORY": place})
    except ConfigError as error:
        problem = error.problems[0].partition(": ")[2]
        sys.exit(f"install.sh: the API key {problem}; nothing was changed")
print(found.secret.get_secret_value())
' "$here/.." "$1"
}

put() {  # put FROM TO OPTION...: write a file, whole or not at all
  from_=$1 to=$2
  shift 2
  install -D "$@" "$from_" "$to.new" && mv -fT "$to.new" "$to"
}

put_key() {
  (umask 077 && printf '%s\n' "$key" >"$config/apixo-api-key.new") &&
    mv -fT "$config/apixo-api-key.new" "$config/apixo-api-key"
}

switch() {  # switch PLACE: let $home/venv be that environment, at once or not at all
  ln -sfn "$1" "$home/venv.new"
  mv -T "$home/venv.new" "$home/venv"
}

put_units() {
  for unit in $names; do
    now=$units/$unit was=$old/units/$unit
    try "cannot write $new/units" install -Dm644 "$here/$unit" "$new/units/$unit"
    if [ -L "$now" ] || { [ -e "$was" ] && [ -e "$now" ] && ! cmp -s "$was" "$now"; }; then
      say "left as you changed it: $now; the new one is $home/venv/units/$unit"
    else
      try "cannot write $now" put "$here/$unit" "$now" -m644
    fi
  done
}

install_files() {
  try "cannot write the user's file" put "$here/voicekeeper.sysusers" "$sysusers" -m644
  try "cannot make the user voicekeeper" systemd-sysusers "$sysusers"
  try "cannot make $state" install -d -m700 -o voicekeeper -g voicekeeper "$state"
  try "cannot make $config" install -d -m755 "$config"
  if ! [ -e "$config/config.toml" ]; then
    try "cannot write the settings" \
      put "$here/../config.example.toml" "$config/config.toml" -m640 -g voicekeeper
  fi
  [ -z "$key" ] || try "cannot write the key" put_key
  put_units
  try "systemd does not take the units" systemctl daemon-reload
}

files() {  # all that an installation changes, but for $home
  for unit in $names; do echo "$units/$unit"; done
  printf '%s\n' "$sysusers" "$config/config.toml" "$config/apixo-api-key" "$program" "$manual"
}

# put_back: have everything that is in use be as it was, and what ran run again.
put_back() {
  trap '' HUP INT TERM
  touched=
  for file in $(files); do
    rm -f "$file.new"
    if [ -e "$before$file" ] || [ -L "$before$file" ]; then
      cp -a "$before$file" "$file.new" && mv -fT "$file.new" "$file"
    else
      rm -f "$file"
    fi
  done
  if [ -n "$old" ]; then switch "$old"; else rm -f "$home/venv"; fi
  systemctl daemon-reload >/dev/null 2>&1 || true
  [ -z "$restarting" ] || rerun
}

ended() {
  [ -z "$touched" ] || put_back || echo "install.sh: the old version does not start either: $why" >&2
  [ -n "$settled" ] || rm -rf "$new"
}

rerun() {  # also what a limit of the user's on starts keeps down
  # shellcheck disable=SC2086 # one word for each unit
  { systemctl reset-failed $daemons || true; systemctl restart $daemons; } >/dev/null 2>&1
}

restart() {  # restart what runs by the new version; else put the old one back
  [ -n "$daemons" ] || return 0
  restarting=1
  if rerun; then
    # shellcheck disable=SC2086
    set -- $daemons
    say "restarted: $*"
  elif put_back; then
    fail "the new version does not start, so the old one runs again: $why"
  else
    fail "neither the new version nor the old one starts: $why"
  fi
}

start() {  # start UNIT: what is to run, and does not
  systemctl reset-failed "$1" 2>/dev/null || true
  try "$1 does not start ('journalctl -u ${1%.service}' tells why)" systemctl enable --now "$1"
  say "started: $1"
}

from=
key=
action=install
while [ $# -gt 0 ]; do
  case $1 in
  -h | --help) usage && exit 0 ;;
  --uninstall) action=uninstall ;;
  --from | --key)
    [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help" 2
    if [ "$1" = --from ]; then from=$2; else key=$2; fi
    shift
    ;;
  *) fail "there is no option $1; see --help" 2 ;;
  esac
  shift
done

[ "$(id -u)" -eq 0 ] || fail "it must run as root"
[ -d /run/systemd/system ] || fail "systemd does not run on this machine"
umask 077  # who can open the lock can hold it
exec 9>/run/voicekeeper-install.lock
umask 022
flock -n 9 || fail "another install.sh is at work; run it again when that has ended" 75
if [ $action = uninstall ]; then
  uninstall
  exit 0
fi
version=$(systemctl --version | awk 'NR == 1 { print $2 }')
[ "${version%%[!0-9]*}" -ge 252 ] || fail "it needs systemd 252 or later, and this is $version"
[ -x $python ] || fail "there is no $python; install Python 3.11 or later"
$python -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is older than Python 3.11"
$python -I -c 'import ensurepip, venv' 2>/dev/null ||
  fail "$python cannot make virtual environments; install the package python3-venv"
for place in "$home" "$home/releases" "$config"; do
  ! [ -e "$place" ] || [ "$(stat -Lc %u "$place")" = 0 ] ||
    fail "$place belongs to another user, who could change what root runs: chown -R root: $place"
done
[ -z "$key" ] || [ "$key" = - ] || [ -r "$key" ] || fail "there is no key in $key"
[ -z "$key" ] || key=$(read_key "$key") || exit 1

# The new version stands beside the old one before anything that is in use changes.
old=$(readlink -f "$home/venv" 2>/dev/null || true)
[ -d "$old" ] || old=
try "cannot make $home" mkdir -p "$home/releases"
touched= settled= restarting=
new=$(mktemp -d "$home/releases/$(date -u +%Y%m%dT%H%M%SZ).XXXX") && chmod 755 "$new"
before=$new/before
trap ended EXIT
trap 'exit 130' HUP INT TERM
export TMPDIR="$new/tmp"  # nobody else can put anything there; removed with all that fails
mkdir -m700 "$TMPDIR" "$before"
try "cannot make a virtual environment" $python -I -m venv "$new"
from=${from:-$here/..}
extras=${from#"${from%%\[*}"}
case $from in
.* | */*)
  if [ -d "${from%"$extras"}" ]; then  # a copy: setuptools also packs what an earlier build left
    source=${from%"$extras"} from=$new/source$extras
    try "cannot copy the sources" mkdir "$new/source"
    try "cannot copy the sources" cp -R "$source/pyproject.toml" "$source/README.md" \
      "$source/LICENSE" "$source/voicekeeper" "$new/source/"
  fi
  ;;
esac
pip() { "$new/bin/python" -I -m pip install --quiet --disable-pip-version-check "$@"; }
try "pip cannot install $from" pip "$from"
# What sends messages is an extra, and so is what speaks to PostgreSQL: who has it keeps it.
for extra in alerts:apprise postgres:psycopg; do
  for there in "$old"/lib/python3*/site-packages/"${extra#*:}"; do
    if [ -n "$old" ] && [ -d "$there" ]; then
      "$new/bin/python" -I -c '
import sys
from importlib.metadata import requires
for needed in requires("voicekeeper") or ():
    requirement, _, when = needed.partition(";")
    if sys.argv[1] in when.replace("\x27", "\x22").split("\x22"):
        print(requirement)
' "${extra%:*}" >>"$new/extras"
    fi
  done
done
! [ -s "$new/extras" ] || try "pip cannot keep the extras" pip -r "$new/extras"
rm -rf "$new/source" "$new/extras" "$TMPDIR"
unset TMPDIR
try "what pip installed is no voicekeeper" "$new/bin/voicekeeper" --version
try "cannot make the manual page" mkdir -p "$new/share/man/man1" "${manual%/*}"
"$new/bin/voicekeeper" manual >"$new/share/man/man1/voicekeeper.1" 2>/dev/null ||
  rm "$new/share/man/man1/voicekeeper.1"  # a version that has none

daemons=$(running)
failed=$(listed failed)
had_key=
[ ! -s "$config/apixo-api-key" ] || had_key=1
for file in $(files); do
  if [ -e "$file" ] || [ -L "$file" ]; then
    try "cannot keep $file" mkdir -p "$before${file%/*}"
    try "cannot keep $file" cp -a "$file" "$before$file"
  fi
done
touched=1
install_files
if [ -d "$home/venv" ] && ! [ -L "$home/venv" ]; then  # made by hand; it finds itself by its path
  old=$home/releases/by-hand
  rm -rf "$old" && mv "$home/venv" "$old"
fi
switch "$new"
try "cannot make $program" ln -sfn "$home/venv/bin/voicekeeper" "$program"
try "cannot make $manual" ln -sfn "$home/venv/share/man/man1/voicekeeper.1" "$manual"
say "installed: $("$program" --version)"
restart
touched= settled=1
rm -rf "$before"

# What runs with the old version for a moment more, such as a pass that a timer began, needs it.
find "$home/releases" -mindepth 1 -maxdepth 1 ! -path "$new" ! -path "$old" -exec rm -rf {} +

code=0
for unit in $failed; do
  ! systemctl is-enabled --quiet "$unit" || (start "$unit") || code=1
done
if [ -z "$(running)" ] && ! [ -s "$config/apixo-api-key" ]; then
  echo "next, the key, and with it the service: $0 --key -"
elif [ -z "$(running)" ] && { [ -z "$old" ] || [ -z "$had_key" ]; }; then
  start voicekeeper.service
fi
exit $code
