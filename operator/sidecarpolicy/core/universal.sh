# Which of the two copies of a sidecar serves? Runs in each of them, and in the init container
# before them; a static busybox is all that it needs. Comments are not injected, and nothing here
# may look like a variable to a kubelet: no dollar before a parenthesis or before another dollar.
#
#   prepare SCRIPT BUSYBOX           sets the volume up, clean, with every new sandbox
#   native COMMAND...                the copy that is a native sidecar where nodes know such
#   ordinary AFTER COMMAND...        the copy among the Pod's regular containers
#   probe COPY COMMAND...            answers for the copy that serves, well for the other
#   hook COPY COMMAND...             acts in the copy that serves, not in the other
#   wait                             lasts until a copy serves, or until its container ends
#
# AFTER says what it does if the other copy serves: "sleep" until it is told to end, or "end" at
# once. State, beside this file: `started`, once the first run of the native copy was there, and
# one file that is `free` until a copy moves it to its own name. Moving is atomic, so one wins.
#
# Variables are exported if the container's environment has their names, hence the odd ones.
set -e
_sp_dir=${0%/*}
_sp_busybox=$_sp_dir/busybox

# Whether the copy serves from now on, or did so before.
_sp_serves() {
  [ -e "$_sp_dir/$1" ] ||
    "$_sp_busybox" mv "$_sp_dir/free" "$_sp_dir/$1" 2>/dev/null
}

# Becomes the command, as a container runtime would have started it: same process, name,
# arguments and environment.
_sp_run() {
  _sp_name=$1
  case $1 in
  */*) _sp_path=$1 ;;
  *) _sp_find ;;
  esac
  shift
  _sp_seen= _sp_odd= _sp_has_path=
  if [ -r /proc/self/environ ]; then
    while IFS= read -r -d '' _sp_entry; do
      _sp_look
    done </proc/self/environ
  fi
  # A shell loses or changes some variables. They come back by way of env, which cannot keep a
  # name that differs from the path.
  if [ -n "$_sp_odd" ]; then
    set -- "$_sp_path" "$@"
    while IFS= read -r -d '' _sp_entry; do
      case $_sp_entry in ?*=*) set -- "$_sp_entry" "$@" ;; esac
    done </proc/self/environ
    exec "$_sp_busybox" env -i "$@"
  fi
  if [ -n "$_sp_seen" ]; then
    unset SHLVL PWD OLDPWD
    [ -n "$_sp_has_path" ] || unset PATH
  fi
  exec -a "$_sp_name" "$_sp_path" "$@"
}

# A shell would rather run its busybox's own applet than what stands in PATH.
_sp_find() {
  _sp_rest=$PATH:
  while [ -n "$_sp_rest" ]; do
    _sp_path=${_sp_rest%%:*}
    _sp_path=${_sp_path:-.}/$_sp_name
    _sp_rest=${_sp_rest#*:}
    if [ -f "$_sp_path" ] && [ -x "$_sp_path" ]; then return; fi
  done
  echo "exec: $_sp_name: not found in PATH" >&2
  exit 127
}

# Whether a variable is one that does not come through a shell as it is.
_sp_look() {
  _sp_seen=yes
  case ${_sp_entry%%=*} in
  PATH) _sp_has_path=yes ;;
  SHLVL | PWD | OLDPWD | IFS | PPID | OPTIND | LINENO | RANDOM | PS[1-4]) _sp_odd=yes ;;
  '' | [0-9]* | *[!A-Za-z0-9_]* | _sp_*) _sp_odd=yes ;;
  esac
}

# Waits to be told to end. As the first process of its container it gets only the signals that it
# asks for, and an image may name any to stop it.
_sp_sleep() {
  for _sp_signal in 1 2 3 4 5 6 7 8 10 11 12 13 14 15 16 18 20 21 22 23 24 25 26 27 28 \
    29 30 31 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 \
    62 63 64; do
    trap 'kill $! 2>/dev/null; exit 0' $_sp_signal
  done
  while :; do
    "$_sp_busybox" sleep 86400 &
    wait $! || :
  done
}

_sp_role=$1
shift
case $_sp_role in
prepare)
  umask 022
  for _sp_file in started native ordinary free; do
    "$2" rm -f "$_sp_dir/$_sp_file"
  done
  # Moved to its place: an older one may be running.
  "$2" cp "$2" "$_sp_busybox.new"
  "$2" chmod 755 "$_sp_busybox.new"
  "$2" mv -f "$_sp_busybox.new" "$_sp_busybox"
  printf '%s\n' "$1" >"$0.new"
  "$2" mv -f "$0.new" "$0"
  : >"$_sp_dir/free"
  ;;
native)
  # A start that finds this file is a second one without `prepare` in between: only a kubelet that
  # knows native sidecars starts an init container again that ended well.
  if [ ! -e "$_sp_dir/started" ]; then
    : >"$_sp_dir/started"
    exit 0
  fi
  _sp_serves native || _sp_sleep
  _sp_run "$@"
  ;;
ordinary)
  if ! _sp_serves ordinary; then
    [ "$1" != sleep ] || _sp_sleep
    exit 0
  fi
  shift
  _sp_run "$@"
  ;;
wait)
  while [ -e "$_sp_dir/free" ]; do "$_sp_busybox" usleep 100000; done
  ;;
probe | hook)
  if [ -e "$_sp_dir/$1" ]; then
    shift
    _sp_run "$@"
  fi
  # Nobody serves yet: a startup probe has to wait for that.
  [ "$_sp_role" = hook ] || [ ! -e "$_sp_dir/free" ]
  ;;
esac
