#!/bin/sh
# Make the user NAME, with NUMBER, GROUP and HOME_FOLDER, unless passwd has it; STRICT if the name
# was asked for, and not the number alone. Writes the lists itself: no tool for that is everywhere.
set -e

# Print the lines of file $1 whose field $2 is $3.
lines_with() {
  [ -e "$1" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    rest=$line
    at=1
    while [ "$at" -lt "$2" ]; do
      rest=${rest#*:}
      at=$((at + 1))
    done
    [ "${rest%%:*}" != "$3" ] || printf '%s\n' "$line"
  done <"$1"
}
# Append line $2 to file $1, which may lack its last line break.
append() {
  if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then
    echo >>"$1"
  fi
  printf '%s\n' "$2" >>"$1"
}
refuse() {
  echo "the base has another user or group in the way of $NAME: $1" >&2
  exit 1
}

by_number=$(lines_with /etc/passwd 3 "$NUMBER")
by_name=$(lines_with /etc/passwd 1 "$NAME")
if [ -z "$STRICT" ] && [ -n "$by_number" ]; then
  exit 0
fi
printf '%s\n' "$by_number" "$by_name" | while IFS= read -r line; do
  case ${line%:*} in
  "" | "$NAME:"*":$NUMBER:$GROUP:"*":$HOME_FOLDER" | "$NAME:"*":$NUMBER:$GROUP:"*":$HOME_FOLDER/") ;;
  *) refuse "$line" ;;
  esac
done
if [ -z "$(lines_with /etc/group 3 "$GROUP")" ]; then
  other=$(lines_with /etc/group 1 "$NAME")
  [ -z "$other" ] || refuse "$other"
  append /etc/group "$NAME:x:$GROUP:"
fi
if [ -z "$by_number$by_name" ]; then
  append /etc/passwd "$NAME:x:$NUMBER:$GROUP::$HOME_FOLDER:/bin/sh"
  if [ -e /etc/shadow ] && [ -z "$(lines_with /etc/shadow 1 "$NAME")" ]; then
    append /etc/shadow "$NAME:!::0:99999:7:::"
  fi
fi
umask 022
mkdir -p "$HOME_FOLDER"
chown "$NUMBER:$GROUP" "$HOME_FOLDER"
