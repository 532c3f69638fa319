#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "video mkv"
pair

get whole /sample.mkv
headers "status and headers" sample.mkv.headers "$work/whole.headers"
same "every byte" "$media/sample.mkv" "$work/whole.body"
finish
