# Runs inside the booted systemd as root and writes what it sees, one `name=value` a line, to /rig/seen.
# What is right is for the test to say.
cd /rig/source || exit 1
trap 'journalctl --sync; journalctl --quiet --no-pager >/rig/journal.log' EXIT
unit=cloud-budget-monitor.service
public=/run/cloud-budget-monitor/status.json

saw() { printf '%s=%s\n' "$1" "$2" >>/rig/seen; }
property() { systemctl show --value --property="$2" "$1"; }
turn_of() { sed -n 's/.*"turn_at": *"\([^"]*\)".*/\1/p' "$public" 2>/dev/null; }
mail_count() { find /rig/mail -type f | wc -l; }
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all env -i --chdir=/ PATH=/usr/bin:/bin "$@"; }

until_true() { # until_true SECONDS COMMAND...: as soon as it is true, or not at all
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}
is_active() { [ "$(property $unit ActiveState)" = active ]; }
is_failed() { [ "$(property $unit ActiveState)" = failed ]; }
has_turned_since() { local turn; turn=$(turn_of); [ -n "$turn" ] && [[ "$turn" > "$1" ]]; }
has_mail() { [ "$(mail_count)" -ge "$1" ]; }
restarted() { [ "$(property $unit NRestarts)" -ge 1 ] && is_active; }

# The commands of docs/install.md, step 6.
bash -eu /rig/start.sh
saw start "$(systemctl is-active $unit)"
is_active || exit 1
until_true 60 has_turned_since ""
until_true 60 has_mail 2
saw turn "$(turn_of)"
saw mails "$(mail_count)"
saw user "$(stat -c %U /proc/"$(property $unit MainPID)")"
saw runtime_directory "$(stat -c '%a' /run/cloud-budget-monitor)"
saw status_file "$(stat -c '%a' $public)"
saw state_directory "$(stat -Lc '%a' /var/lib/cloud-budget-monitor)"

as_nobody /usr/local/bin/monitor status --json >/rig/status-of-nobody.json 2>/rig/status-of-nobody.err
saw status_of_nobody "$?"
as_nobody cat /var/lib/cloud-budget-monitor/ledger.db >/dev/null 2>&1
saw nobody_reads_the_ledger "$?"

socket=/run/cloud-budget-monitor/control.sock
saw socket "$(stat -c '%a' $socket)"
SUDO_USER=alice /usr/local/bin/monitor silence training --for 1h >/rig/silence.out 2>&1
saw silence "$?"
saw silenced "$(sed -n 's/.*"silences": *\[{"budget": *"\([^"]*\)".*"by": *"\([^"]*\)".*/\1 by \2/p' $public)"
as_nobody /usr/local/bin/monitor silence training --for 1h >/rig/silence-of-nobody.out 2>&1
saw silence_of_nobody "$?"

first=$(property $unit MainPID)
before=$(turn_of)
kill -KILL "$first"
until_true 60 restarted
until_true 60 has_turned_since "$before"
saw restarts "$(property $unit NRestarts)"
saw another_process "$([ "$(property $unit MainPID)" != "$first" ] && echo yes)"
saw turn_after_kill "$([[ "$(turn_of)" > "$before" ]] && echo yes)"
saw mails_after_kill "$(mail_count)"

pid=$(property $unit MainPID)
before=$(turn_of)
systemctl reload $unit
until_true 60 has_turned_since "$before"
saw reload "$([ "$(property $unit MainPID)" = "$pid" ] && is_active && echo kept)"

/usr/local/bin/monitor unsilence training >/rig/unsilence.out 2>&1
saw unsilence "$?"
until_true 60 has_mail 3
saw mails_after_silence "$(mail_count)"

SECONDS=0
systemctl stop $unit
saw stop_seconds "$SECONDS"
saw stop "$(property $unit Result) $(property $unit ExecMainStatus)"

echo 'nonsense = true' >>/etc/cloud-budget-monitor/config.toml
systemctl start $unit 2>/dev/null
until_true 60 is_failed
saw broken_config "$(property $unit ActiveState) $(property $unit ExecMainStatus)"
until_true 60 test -e /rig/heartbeat
saw heartbeat "$(cat /rig/heartbeat)"
journalctl --sync
saw journal "$(journalctl --quiet --no-pager --output=cat --identifier=cloud-budget-monitor --priority=crit)"
