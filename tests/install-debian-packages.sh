#!/bin/sh
# Installs the Debian packages that are named as arguments and missing, when root or sudo is there.
set -eu

missing=
for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null \
        | grep --quiet 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo --non-interactive true 2>/dev/null; then
    as_root=sudo
else
    echo "missing Debian packages, and no right to install them: apt-get install$missing" >&2
    exit 1
fi

# While they are installed, packages must not start servers of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi
$as_root apt-get update --quiet --quiet
case " $missing " in
*" slapd "*) # not even at the next boot
    echo "slapd slapd/no_configuration boolean true" | $as_root debconf-set-selections ;;
esac
# shellcheck disable=SC2086 # one word for each package
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --quiet --yes --no-install-recommends $missing
