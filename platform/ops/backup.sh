#!/bin/sh
# Back up and restore PostgreSQL: base backups, the WAL between them, and a restore to any moment.
#
#   backup.sh archive PATH FILE     archive_command, for each finished WAL file
#   backup.sh base                  take a base backup (libpq's variables name the server)
#   backup.sh restore FOLDER [TIME] make a data folder that recovers to TIME, or to the latest
#   backup.sh prune COUNT           keep the latest COUNT base backups and the WAL they need
#
# BACKUP_DIR holds `base/<time of its end, UTC>` and `wal/`. Put it on another disk or host, and copy
# it off-site. It needs PostgreSQL's programs, and GNU date.
set -eu
umask 077

: "${BACKUP_DIR:?names the folder of the backups}"
BASES="$BACKUP_DIR/base"
WAL="$BACKUP_DIR/wal"
STAMP=%Y%m%dT%H%M%SZ

fail() {
    echo "backup.sh: $*" >&2
    exit 1
}

# A file appears whole or not at all. After a crash, PostgreSQL may archive one again.
archive() {
    mkdir -p "$WAL"
    if [ -e "$WAL/$2" ]; then
        cmp -s "$1" "$WAL/$2" || fail "$2 is already in the archive with different content"
        return
    fi
    cp "$1" "$WAL/.$2.part"
    sync "$WAL/.$2.part"
    mv "$WAL/.$2.part" "$WAL/$2"
}

base() {
    mkdir -p "$BASES"
    part="$BASES/.part"
    rm -rf "$part"
    pg_basebackup --pgdata "$part" --format plain --wal-method stream --checkpoint fast
    # Not every package includes it.
    if pg_verifybackup --version >/dev/null 2>&1; then
        pg_verifybackup --quiet "$part"
    fi
    name=$(date -u +$STAMP)
    mv "$part" "$BASES/$name"
    echo "$name"
}

restore() {
    folder=$1
    moment=${2:-}
    [ ! -e "$folder" ] || [ -z "$(ls -A "$folder")" ] || fail "$folder is not empty"
    latest=$(date -u +$STAMP)
    if [ -n "$moment" ]; then
        latest=$(date -u -d "$moment" +$STAMP) || fail "$moment is not a time, such as 2026-11-30 16:00:00+00"
    fi
    chosen=
    for each in "$BASES"/*; do
        name=${each##*/}
        # The names sort by time.
        if [ -d "$each" ] && [ "$(printf '%s\n%s\n' "$name" "$latest" | sort | head -n 1)" = "$name" ]; then
            chosen=$each
        fi
    done
    [ -n "$chosen" ] || fail "no base backup ended before ${moment:-now}"
    mkdir -p "$folder"
    cp -R "$chosen/." "$folder"
    chmod 700 "$folder"
    {
        echo "restore_command = 'cp \"$WAL/%f\" \"%p\"'"
        echo "recovery_target_timeline = 'latest'"
        # Let no one read or check a database that is restored in part.
        echo "hot_standby = off"
        if [ -n "$moment" ]; then
            echo "recovery_target_time = '$moment'"
            echo "recovery_target_action = 'promote'"
        fi
    } >>"$folder/postgresql.auto.conf"
    : >"$folder/recovery.signal"
    echo "${chosen##*/}"
}

prune() {
    count=$1
    [ "$count" -ge 1 ] || fail "keep at least one base backup"
    kept=
    for name in $(ls "$BASES" | sort -r | head -n "$count"); do
        kept=$name
    done
    [ -n "$kept" ] || fail "there is no base backup"
    for name in $(ls "$BASES" | sort -r | tail -n +"$((count + 1))"); do
        rm -rf "${BASES:?}/$name"
    done
    first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$BASES/$kept/backup_label")
    pg_archivecleanup "$WAL" "$first"
}

case "${1:-}:$#" in
    archive:3) archive "$2" "$3" ;;
    base:1) base ;;
    restore:2) restore "$2" ;;
    restore:3) restore "$2" "$3" ;;
    prune:2) prune "$2" ;;
    *) fail "usage: archive, base, restore or prune; see the top of this file" ;;
esac
