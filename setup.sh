#!/bin/sh
# Makes a bare machine ready, then runs one of the tasks:
#
#   sh setup.sh train [--help | flags]     sh setup.sh test     sh setup.sh        (lists the tasks)
#
# 1. Deno, at the one version Précis is tested with: the one on PATH, or a private copy under ~/.local/share/precis.
# 2. A Vulkan driver that WebGPU accepts. Any GPU will do; only where none answers is software Vulkan installed.
# 3. exec deno task "$@"
#
# Run it as often as you like: what is there already is used as it is. It speaks on stderr; stdout belongs to the task.
# `sh setup.sh --deno` stops after step 1 and `sh setup.sh --ready` after step 2 (containers and CI build on them).
set -eu

DENO_VERSION=2.9.6 # the only place where it is pinned

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
repository=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
system=$(uname -s)-$(uname -m)

# ---- privileges: run as root, or through sudo where it asks for no password -------------------------------------------
privileged() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
may_install() {
  [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}
apt_install() {
  say "installing with apt-get: $*"
  export DEBIAN_FRONTEND=noninteractive
  { privileged apt-get update -qq && privileged apt-get install -y -qq --no-install-recommends "$@"; } >&2
}

# ---- 1. Deno ----------------------------------------------------------------------------------------------------------
version_of() { "$1" --version 2>/dev/null | sed -n '1s/^deno \([^ ]*\).*/\1/p'; }

# Unpacks one zip into a folder with whichever tool the machine has.
unpack_zip() {
  if has unzip; then unzip -oq "$1" -d "$2"
  elif has python3; then python3 -m zipfile -e "$1" "$2"
  elif has bsdtar; then bsdtar -xf "$1" -C "$2"
  elif has busybox; then busybox unzip -oq "$1" -d "$2"
  else return 1; fi
}

from_npm() {
  npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error "deno@$DENO_VERSION" >&2 || return 1
  # npm keeps the binary in a package of its own for each platform; the `deno` package itself is only a launcher.
  for binary in "$1"/node_modules/@deno/*/deno; do
    [ -f "$binary" ] && cp "$binary" "$1/deno" && rm -rf "$1/node_modules" && return 0
  done
  return 1
}

# Something to download and unzip with; a bare Debian has neither.
fetch_tools() {
  { has curl || has wget; } && { has unzip || has python3 || has bsdtar || has busybox; } && return 0
  has apt-get && may_install && apt_install curl ca-certificates unzip
}

from_release() {
  url=https://github.com/denoland/deno/releases/download/v$DENO_VERSION/deno-$target.zip
  if has curl; then curl -fsSL --connect-timeout 15 --retry 2 -o "$1/deno.zip" "$url" || return 1
  elif has wget; then wget -q -T 15 -t 2 -O "$1/deno.zip" "$url" || return 1
  else return 1; fi
  unpack_zip "$1/deno.zip" "$1" && rm -f "$1/deno.zip"
}

find_or_install_deno() {
  deno=$(command -v deno || true)
  if [ -n "$deno" ] && [ "$(version_of "$deno")" = "$DENO_VERSION" ]; then
    say "Deno $DENO_VERSION: $deno"
    return
  fi
  other=${deno:+" (version $(version_of "$deno") at $deno is left alone)"}
  share=${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/precis
  deno=$share/deno-$DENO_VERSION/deno
  if [ -x "$deno" ] && [ "$(version_of "$deno")" = "$DENO_VERSION" ]; then
    say "Deno $DENO_VERSION: $deno$other"
    offer_link
    return
  fi

  case $system in
    Linux-x86_64) target=x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-gnu ;;
    Darwin-x86_64) target=x86_64-apple-darwin ;;
    Darwin-arm64) target=aarch64-apple-darwin ;;
    *) fail "there is no Deno $DENO_VERSION for $system; Précis runs on Linux and macOS, x64 and arm64 (on Windows use WSL 2)." ;;
  esac
  if [ "${system%%-*}" = Linux ] && [ -f /etc/alpine-release ]; then
    fail "Deno $DENO_VERSION needs glibc and Alpine has musl; use the Dockerfile, or a Debian, Ubuntu or Fedora container."
  fi
  staging=$share/staging.$$
  mkdir -p "$staging" 2>/dev/null || fail "cannot write $share; set HOME or XDG_DATA_HOME to a folder that you own."
  trap 'rm -rf "$staging"' EXIT
  trap 'exit 130' INT TERM

  say "installing Deno $DENO_VERSION into $share/deno-$DENO_VERSION$other"
  installed=no
  if has npm && from_npm "$staging"; then installed="with npm"
  elif fetch_tools && from_release "$staging"; then installed="from its release page"
  elif ! has npm && has apt-get && may_install && apt_install npm && from_npm "$staging"; then installed="with npm"
  fi
  [ "$installed" != no ] ||
    fail "could not get Deno $DENO_VERSION: no npm, and its release page cannot be reached (or curl, or unzip is missing); install it from https://deno.com and run this again."
  chmod 755 "$staging/deno"
  [ "$(version_of "$staging/deno")" = "$DENO_VERSION" ] ||
    fail "the Deno that was downloaded does not run here as version $DENO_VERSION; install it from https://deno.com and run this again."
  mkdir -p "${deno%/*}"
  mv -f "$staging/deno" "$deno"
  rm -rf "$staging"
  trap - EXIT INT TERM
  say "Deno $DENO_VERSION came $installed: $deno"
  offer_link
}

# Plain `deno task train` should work afterwards, so the private copy is put on PATH where no other Deno is.
offer_link() {
  [ -z "$other" ] || { say "plain 'deno' is another version; to use this one: export PATH=\"${deno%/*}:\$PATH\""; return; }
  if [ "$(id -u)" = 0 ]; then bin=/usr/local/bin; else bin=$HOME/.local/bin; fi
  if mkdir -p "$bin" 2>/dev/null && [ ! -e "$bin/deno" ] && ln -sf "$deno" "$bin/deno" 2>/dev/null; then
    say "linked $bin/deno"
  fi
  case :$PATH: in
    *:"$bin":*) ;;
    *) say "for plain 'deno task' in a new shell: export PATH=\"${deno%/*}:\$PATH\"" ;;
  esac
}

# ---- 2. a GPU ---------------------------------------------------------------------------------------------------------
# Asks WebGPU itself. OpenGL is ruled out on Linux: wgpu can fall back to it, Dawn (the fast path) cannot.
ask_adapter() {
  if [ "${system%%-*}" = Linux ]; then backend=vulkan; else backend=metal; fi
  DENO_WEBGPU_BACKEND=$backend "$deno" eval --no-config '
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (adapter) console.log((adapter.info.description || adapter.info.vendor || "a GPU without a name") +
      (adapter.info.isFallbackAdapter ? " [software]" : ""));
  ' 2>/dev/null || true
}

# An NVIDIA GPU needs its driver's library and a small file that points the Vulkan loader to it. Containers often get the
# library without the file, so it is written here. libEGL_nvidia is named first: unlike libGLX_nvidia it needs no X11.
point_to_nvidia() {
  case $adapter in *NVIDIA*) return ;; esac
  [ -e /proc/driver/nvidia/version ] || [ -e /dev/nvidiactl ] || return 0
  for library in libEGL_nvidia.so.0 libGLX_nvidia.so.0 none; do
    for folder in /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/nvidia/lib64 /usr/lib/*-linux-gnu/nvidia/current; do
      [ ! -e "$folder/$library" ] || break 2
    done
  done
  if [ "$library" = none ]; then
    say "an NVIDIA GPU is here, but its driver's Vulkan library (libEGL_nvidia.so.0) is not. Install the libnvidia-gl package of the" \
      "driver's version; in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics."
    return
  fi
  # The loader looks into both of these by itself.
  if [ "$(id -u)" = 0 ]; then icds=/etc/vulkan/icd.d; else icds=${XDG_DATA_HOME:-$HOME/.local/share}/vulkan/icd.d; fi
  mkdir -p "$icds" 2>/dev/null || { say "an NVIDIA GPU is here, but $icds cannot be written, so Vulkan cannot find its driver."; return; }
  printf '{"file_format_version":"1.0.1","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' "$folder/$library" >"$icds/precis_nvidia.json"
  adapter=$(ask_adapter)
  case $adapter in
    *NVIDIA*) say "pointed Vulkan to NVIDIA's driver: $icds/precis_nvidia.json" ;;
    *)
      rm -f "$icds/precis_nvidia.json"
      say "an NVIDIA GPU is here, but WebGPU finds no adapter through $folder/$library."
      ;;
  esac
}

# The one command that installs software Vulkan on this distribution.
vulkan_command() {
  if has apt-get; then echo "apt-get update && apt-get install -y --no-install-recommends $vulkan_packages"
  elif has dnf; then echo "dnf install -y mesa-vulkan-drivers vulkan-loader"
  elif has zypper; then echo "zypper install -y libvulkan_lvp libvulkan1"
  elif has pacman; then echo "pacman -S --needed vulkan-swrast vulkan-icd-loader"
  fi
}

find_or_install_gpu() {
  vulkan_packages="mesa-vulkan-drivers libvulkan1"
  adapter=$(ask_adapter)
  point_to_nvidia
  if [ -n "$adapter" ]; then
    say "GPU: $adapter"
    return
  fi
  [ "${system%%-*}" = Linux ] || fail "WebGPU finds no Metal GPU on this Mac; Précis needs one (in a virtual machine, pass the GPU through)."

  say "no Vulkan GPU answers; software Vulkan (Mesa's lavapipe) can stand in for it."
  command=$(vulkan_command)
  if ! has apt-get; then
    [ -z "$command" ] || fail "run this one command as root, then start again: $command"
    fail "install Mesa's Vulkan drivers and the Vulkan loader with this system's package manager, then start again."
  fi
  may_install || fail "run this one command, then start again: sudo sh -c '$command'"
  # shellcheck disable=SC2086 # two package names
  apt_install $vulkan_packages || fail "apt-get could not install $vulkan_packages; see its message above."
  adapter=$(ask_adapter)
  point_to_nvidia # the loader itself may have been missing
  [ -n "$adapter" ] ||
    fail "software Vulkan is installed, yet WebGPU finds no adapter${VK_ICD_FILENAMES:+" (VK_ICD_FILENAMES=$VK_ICD_FILENAMES hides it; unset that)"}${VK_DRIVER_FILES:+" (VK_DRIVER_FILES=$VK_DRIVER_FILES hides it; unset that)"}."
  say "GPU: $adapter"
}

find_or_install_deno
[ "${1-}" != --deno ] || exit 0
find_or_install_gpu
[ "${1-}" != --ready ] || exit 0

# ---- 3. the task ------------------------------------------------------------------------------------------------------
[ "$(command -v deno)" = "$deno" ] || PATH=${deno%/*}:$PATH # a task may start `deno` by name
export PATH
cd "$repository"
exec "$deno" task "$@"
