// A visitor of the front port that speaks SPDY/3.1 over TLS by spdy-transport:
//
//   node visitor.js PORT CA
//
// CA is the file of the certificate that signed the front port's. Standard input
// has one request a line and standard output its answer in one line, both in
// JSON, and before those what ALPN chose. All requests go out as they come. The
// end of standard input ends it.
'use strict'

const crypto = require('crypto')
const fs = require('fs')
const readline = require('readline')
const tls = require('tls')
const transport = require('spdy-transport')

function tell (what) {
  process.stdout.write(JSON.stringify(what) + '\n')
}

// pattern is n bytes in which no part is like another.
function pattern (n) {
  const b = Buffer.alloc(n + 4)
  for (let i = 0; i < n; i += 4) b.writeUInt32BE(i / 4, i)
  return b.subarray(0, n)
}

const socket = tls.connect({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  ca: fs.readFileSync(process.argv[3]),
  servername: 'localhost',
  ALPNProtocols: ['spdy/3.1']
})
socket.on('error', (err) => tell({ error: String(err) }))
socket.on('secureConnect', () => {
  tell({ alpn: socket.alpnProtocol })
  const conn = transport.connection.create(socket, { protocol: 'spdy', isServer: false })
  conn.on('error', (err) => tell({ error: String(err) }))
  conn.start(3.1)
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', (line) => request(conn, JSON.parse(line)))
  lines.on('close', () => process.exit(0))
})

// request sends what r says and tells the answer at its end, or when it breaks
// off.
function request (conn, r) {
  const answer = { id: r.id, bytes: 0 }
  const hash = crypto.createHash('sha256')
  const stream = conn.request({ method: r.method, path: r.path, host: 'localhost', headers: {} })
  stream.on('response', (status, headers) => {
    answer.status = status
    answer.headers = headers
  })
  stream.on('error', (err) => { answer.error = String(err) })
  stream.on('data', (piece) => {
    hash.update(piece)
    answer.bytes += piece.length
  })
  stream.on('close', (err) => {
    if (err) answer.error = String(err)
    answer.sha256 = hash.digest('hex')
    tell(answer)
  })
  // A GET went out with its end.
  if (r.method !== 'GET') stream.end(pattern(r.size))
}
