#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "video mp4"
pair

get whole /sample.mp4
headers "status and headers" sample.mp4.headers "$work/whole.headers"
same "every byte" "$media/sample.mp4" "$work/whole.body"
finish
