#!/bin/sh
# Installs voicekeeper as a systemd service, upgrades it, and removes it. See --help.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/voicekeeper
config=/etc/voicekeeper
state=/var/lib/voicekeeper
units=/etc/systemd/system
program=/usr/local/bin/voicekeeper
manual=/usr/local/share/man/man1/voicekeeper.1
python=/usr/bin/python3

usage() {
  cat <<END
Usage: systemd/install.sh [--from WHAT] [--key FILE]
       systemd/install.sh --uninstall

Install voicekeeper as a systemd service, or upgrade it. Run it as root, and as
often as you like: what is there is left alone, or brought up to date.

  --from WHAT   what pip is to install, such as a wheel (else this directory)
  --key FILE    take the API key from this file; - reads it from stdin
  --uninstall   stop the service and remove the program and its units

It makes the user voicekeeper and a virtual environment of $python in
$home, puts the units in $units and the manual page where
'man voicekeeper' finds it, and writes $config/config.toml if
there is none. The first time it also enables and starts the service, if there
is a key. An upgrade restarts what runs; if the new version does not start, the
old one is put back.

Your settings, the key, the registry and the user are never removed.
END
}

fail() {
  echo "install.sh: $1" >&2
  exit "${2:-1}"
}

# try WHAT COMMAND...: run it in silence; if it fails, say what failed and its last word.
try() {
  what=$1
  shift
  words=$("$@" 2>&1) || fail "$what: $(printf '%s\n' "$words" | grep . | tail -n 1)"
}

running() {  # the daemons that run, are starting, or wait to be started again
  systemctl list-units --plain --no-legend --state=active,activating,reloading \
    'voicekeeper.service' 'voicekeeper@*.service' | awk '{ print $1 }'
}

uninstall() {
  for unit in voicekeeper-once.timer voicekeeper-once.service voicekeeper.service \
    $(systemctl list-units --all --plain --no-legend 'voicekeeper@*.service' | awk '{ print $1 }') \
    $(cd "$units" && find . -name 'voicekeeper@?*.service' -type l | sed 's|.*/||'); do
    if systemctl cat "$unit" >/dev/null 2>&1; then
      try "cannot stop $unit" systemctl disable --now "$unit"
    fi
  done
  rm -f "$units/voicekeeper.service" "$units/voicekeeper@.service" \
    "$units/voicekeeper-once.service" "$units/voicekeeper-once.timer" \
    /etc/sysusers.d/voicekeeper.conf
  for link in "$program" "$manual"; do
    case $(readlink "$link" 2>/dev/null || true) in "$home"/*) rm -f "$link" ;; esac
  done
  rm -rf "$home"
  try "cannot have systemd forget the units" systemctl daemon-reload
  echo "voicekeeper is removed. What is yours stays: $config, $state*, the user."
}

switch() {  # switch PLACE: let $home/venv be that environment, at once or not at all
  ln -sfn "$1" "$home/venv.new"
  mv -T "$home/venv.new" "$home/venv"
}

unit_files() {  # unit_files FROM TO: copy our units from one directory to another
  for unit in voicekeeper.service voicekeeper@.service \
    voicekeeper-once.service voicekeeper-once.timer; do
    if [ -e "$1/$unit" ]; then
      try "cannot write $2/$unit" install -Dm644 "$1/$unit" "$2/$unit"
    fi
  done
}

install_files() {
  try "cannot write the user's file" \
    install -Dm644 "$here/voicekeeper.sysusers" /etc/sysusers.d/voicekeeper.conf
  try "cannot make the user voicekeeper" systemd-sysusers /etc/sysusers.d/voicekeeper.conf
  try "cannot make $state" install -d -m700 -o voicekeeper -g voicekeeper "$state"
  try "cannot make $config" install -d -m755 "$config"
  if ! [ -e "$config/config.toml" ]; then
    try "cannot write the settings" \
      install -m640 -g voicekeeper "$here/../config.example.toml" "$config/config.toml"
  fi
  if [ -n "$key" ]; then
    try "cannot write the key" install -m600 "$key" "$config/apixo-api-key"
  fi
  unit_files "$units" "$new/units-before"
  unit_files "$here" "$units"
  try "systemd does not take the units" systemctl daemon-reload
}

restart() {  # restart what runs by the new version; else put the old one back
  daemons=$(running)
  [ -n "$daemons" ] || return 0
  # shellcheck disable=SC2086 # one word for each unit
  if systemctl restart $daemons >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    set -- $daemons
    echo "restarted: $*"
    return 0
  fi
  [ -n "$old" ] || fail "it does not start: 'journalctl -u voicekeeper' tells why"
  switch "$old"
  unit_files "$new/units-before" "$units"
  try "systemd does not take the old units back" systemctl daemon-reload
  # shellcheck disable=SC2086
  if systemctl restart $daemons >/dev/null 2>&1; then
    rm -rf "$new"
    fail "the new version does not start, so the old one runs again: 'journalctl -u voicekeeper' tells why"
  fi
  fail "neither the new version nor the old one starts: 'journalctl -u voicekeeper' tells why"
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
if [ $action = uninstall ]; then
  uninstall
  exit 0
fi
version=$(systemctl --version | awk 'NR == 1 { print $2 }')
[ "${version%%[!0-9]*}" -ge 252 ] || fail "it needs systemd 252 or later, and this is $version"
[ -x $python ] || fail "there is no $python; install Python 3.11 or later"
$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$python is older than Python 3.11"
$python -c 'import ensurepip, venv' 2>/dev/null ||
  fail "$python cannot make virtual environments; install the package python3-venv"
[ "$key" = - ] && key=/dev/stdin
[ -z "$key" ] || [ "$key" = /dev/stdin ] || [ -r "$key" ] || fail "there is no key in $key"
umask 022

# The new version stands beside the old one before anything that is in use changes.
old=$(readlink -f "$home/venv" 2>/dev/null || true)
[ -d "$old" ] || old=
try "cannot make $home" mkdir -p "$home/releases"
new=$(mktemp -d "$home/releases/$(date -u +%Y%m%dT%H%M%SZ).XXXX") && chmod 755 "$new"
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM
try "cannot make a virtual environment" $python -m venv "$new"
if [ -z "$from" ]; then  # a copy: setuptools also packs what an earlier build left in a checkout
  from=$new/source
  try "cannot copy the sources" mkdir "$from"
  try "cannot copy the sources" cp -R "$here/../pyproject.toml" "$here/../README.md" \
    "$here/../LICENSE" "$here/../voicekeeper" "$from/"
fi
case $from in
*']') ;;
*)  # what sends messages is an extra, and so is what speaks to PostgreSQL: who has it keeps it
  extras=
  for extra in alerts:apprise postgres:psycopg; do
    if [ -n "$old" ] && "$old/bin/python" -c "import ${extra#*:}" 2>/dev/null; then
      extras=$extras${extras:+,}${extra%:*}
    fi
  done
  from=$from${extras:+[$extras]}
  ;;
esac
try "pip cannot install $from" "$new/bin/pip" install --quiet --disable-pip-version-check "$from"
rm -rf "$new/source"
try "what pip installed is no voicekeeper" "$new/bin/voicekeeper" --version
try "cannot make the manual page" mkdir -p "$new/share/man/man1" "${manual%/*}"
"$new/bin/voicekeeper" manual >"$new/share/man/man1/voicekeeper.1" 2>/dev/null ||
  rm "$new/share/man/man1/voicekeeper.1"  # a version that has none

install_files
if [ -d "$home/venv" ] && ! [ -L "$home/venv" ]; then  # made by hand; it finds itself by its path
  old=$home/releases/by-hand
  rm -rf "$old" && mv "$home/venv" "$old"
fi
switch "$new"
trap - EXIT
try "cannot make $program" ln -sfn "$home/venv/bin/voicekeeper" "$program"
try "cannot make $manual" ln -sfn "$home/venv/share/man/man1/voicekeeper.1" "$manual"
echo "installed: $("$program" --version)"
restart

# What runs with the old version for a moment more, such as a pass that a timer began, needs it.
find "$home/releases" -mindepth 1 -maxdepth 1 ! -path "$new" ! -path "$old" -exec rm -rf {} +

if [ -z "$(running)" ] && ! [ -s "$config/apixo-api-key" ]; then
  echo "next, the key: install -m600 /dev/stdin $config/apixo-api-key   # paste it, then Ctrl-D"
  echo "then the service: systemctl enable --now voicekeeper"
elif [ -z "$(running)" ] && { [ -z "$old" ] || [ -n "$key" ]; }; then
  try "voicekeeper does not start ('journalctl -u voicekeeper' tells why)" \
    systemctl enable --now voicekeeper
  echo "started: voicekeeper.service"
fi
