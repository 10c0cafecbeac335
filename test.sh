#!/usr/bin/env bash
# Everything that must hold, in one command. Warnings are errors.
set -euo pipefail
cd "$(dirname "$0")"

# Three Debian packages beside Rust and a C compiler: mandoc reads the man pages as people will, tmux is the terminal
# in which the dashboard is tried, sudo starts a keeper for an agent that is not root. Without them those checks are skipped, and say so.
missing=()
for package in mandoc tmux sudo; do
  command -v "$package" >/dev/null || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
      echo "test.sh: cannot install ${missing[*]}; what needs them is skipped"
  else
    echo "test.sh: what needs ${missing[*]} is skipped; install the Debian packages for that"
  fi
fi

# A private MariaDB, on which every test of the store runs beside SQLite; UCRON_TEST_MYSQL=mysql://USER@HOST/any with
# UCRON_TEST_MYSQL_PASSWORD names another server for that. And the library of Galera, for a cluster of three.
packages=()
command -v mariadbd >/dev/null || packages+=(mariadb-server-core)
command -v mariadb >/dev/null || packages+=(mariadb-client-core)
galera=()
compgen -G '/usr/lib*/galera*/libgalera_smm.so' >/dev/null || [ -e /usr/lib/libgalera_smm.so ] || galera+=(galera-4)
if [ ${#packages[@]} -gt 0 ] || [ ${#galera[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install=(apt-get install -y -qq --no-install-recommends)
    # One after the other: without Galera the rest is tried all the same.
    { apt-get update -qq && "${install[@]}" "${packages[@]}" && "${install[@]}" "${galera[@]}"; } >/dev/null 2>&1 ||
      echo "test.sh: cannot install ${packages[*]} ${galera[*]}; tests on MariaDB or Galera are skipped"
  else
    echo "test.sh: tests on MariaDB or Galera are skipped; install ${packages[*]} ${galera[*]} for them"
  fi
fi

cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo test --locked
if command -v mandoc >/dev/null; then
  # Pages that are not installed cannot be found; everything else must be in order.
  if mandoc -T lint man/*.[1578] | grep -v 'referenced manual not found'; then
    echo 'test.sh: mandoc finds fault with the man pages'
    exit 1
  fi
fi
