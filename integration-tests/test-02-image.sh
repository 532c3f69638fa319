#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "image"
pair

get whole /image.jpg
headers "status and headers" image.jpg.headers "$work/whole.headers"
same "every byte" "$media/image.jpg" "$work/whole.body"
finish
