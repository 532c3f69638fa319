# Where Debian's pebble is, it is the CA that p asks, by the environment; its root is
# one of the system's, and root.pem.
if command -v pebble >/dev/null; then
  cat >pebble.json <<EOF
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
  "certificate": "certs/p.pem", "privateKey": "certs/p.key", "httpPort": 80, "tlsPort": 443}}
EOF
  PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config pebble.json >pebble.log 2>&1 &
  running[pebble]=$!
  curl -fs --retry 60 --retry-delay 1 --retry-all-errors -o root.pem https://localhost:15000/roots/0 || { cat pebble.log; exit 1; }
  cat "$SSL_CERT_FILE" root.pem >roots.pem
  export SPDY_PROXY_ACME_CA=https://localhost:14000/dir SPDY_PROXY_ACME_CA_ROOT=$SSL_CERT_FILE
  export SSL_CERT_FILE=$PWD/roots.pem CURL_CA_BUNDLE=$PWD/roots.pem
fi
