# Runs inside fresh user, mount and host name namespaces: the same file system, seen from a new
# root with one additional folder, `/zipwright`, which is the build's own. Nothing outside changes.
set -e
root=$1 work=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$root"
for entry in /* /.[!.]*; do
    place=$root$entry
    if [ -L "$entry" ]; then
        ln -s "$(readlink "$entry")" "$place"
    elif [ -d "$entry" ]; then
        mkdir "$place"
        mount --rbind "$entry" "$place"
    elif [ -f "$entry" ]; then
        : > "$place"
        mount --bind "$entry" "$place"
    fi
done
mkdir "$root/zipwright"
mount --rbind "$work" "$root/zipwright"
umask 022
# Without address randomisation, sorting by address gives the same order in each run.
still=
if setarch -R true 2> /dev/null; then still='setarch -R'; fi
exec $still chroot "$root" /bin/sh -c 'cd /zipwright && exec "$@"' sh "$@"
