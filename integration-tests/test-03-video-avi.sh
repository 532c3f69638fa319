#!/usr/bin/env bash
. "$(dirname "$0")/functions"
begin "video avi"
pair

get whole /sample.avi
headers "status and headers" sample.avi.headers "$work/whole.headers"
same "every byte" "$media/sample.avi" "$work/whole.body"
finish
