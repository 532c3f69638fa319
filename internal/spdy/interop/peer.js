// A SPDY/3.1 peer for the tests in this folder. It connects to a port of
// 127.0.0.1, as client or as server of requests:
//
//   node peer.js client|server PORT
//
// Standard input has one command a line and standard output one event a line,
// both in JSON. The end of standard input ends it.
'use strict'

const crypto = require('crypto')
const net = require('net')
const readline = require('readline')
const transport = require('spdy-transport')

const role = process.argv[2]
const port = Number(process.argv[3])

function tell (event) {
  process.stdout.write(JSON.stringify(event) + '\n')
}

// pattern is n bytes that both ends know.
function pattern (n) {
  const b = Buffer.alloc(n)
  for (let i = 0; i < n; i++) b[i] = (i * 31) % 251
  return b
}

// count tells how much of a stream came, and what it was.
function count (stream, into) {
  const hash = crypto.createHash('sha256')
  into.bytes = 0
  stream.on('data', (piece) => {
    hash.update(piece)
    into.bytes += piece.length
  })
  return () => { into.sha256 = hash.digest('hex') }
}

// What the peer answers as a server, by path.
const routes = {
  ok (stream) {
    stream.respond(200, { 'content-type': 'text/plain', 'set-cookie': ['a=1', 'b=2'] })
    stream.end('ok')
  },
  echo (stream) {
    stream.respond(200, {})
    stream.pipe(stream)
  },
  size (stream, n) {
    stream.respond(200, {})
    stream.end(pattern(Number(n)))
  },
  headers (stream) {
    stream.respond(200, { 'x-big': stream.headers['x-big'], 'x-many': stream.headers['x-many'] })
    stream.end()
  },
  // The body of the answer is the trailer of the request.
  trailers (stream) {
    let trailer = ''
    stream.on('headers', (headers) => { trailer = headers['x-trailer'] })
    stream.on('data', () => {})
    stream.on('end', () => {
      stream.respond(200, { trailer: 'X-Trailer' })
      stream.write(trailer)
      stream.sendHeaders({ 'x-trailer': 'from the server' }, () => stream.end())
    })
  },
  abort (stream) {
    stream.respond(200, {})
    stream.write('x', () => stream.abort('INTERNAL_ERROR'))
  },
  wait (stream) {
    tell({ event: 'waiting' })
    stream.on('close', () => tell({ event: 'closed' }))
  }
}

const socket = net.connect(port, '127.0.0.1')
socket.on('error', (err) => tell({ event: 'socket', error: String(err) }))
const conn = transport.connection.create(socket, { protocol: 'spdy', isServer: role === 'server' })
conn.on('error', (err) => tell({ event: 'error', error: String(err) }))
conn.on('close', () => tell({ event: 'end' }))
conn.on('frame', (frame) => {
  if (frame.type === 'GOAWAY') tell({ event: 'goaway', last: frame.lastId, code: frame.code })
})
conn.on('stream', (stream) => {
  stream.on('error', () => {}) // a reset
  const [, name, arg] = stream.path.split('/')
  routes[name](stream, arg)
})
conn.start(3.1)

const streams = {}

const commands = {
  // One request; the answer is told at its end, or when it breaks off.
  request (c) {
    const result = { event: 'response', id: c.id }
    const stream = conn.request({ method: c.method, path: c.path, host: 'a.test', headers: c.headers || {} })
    streams[c.id] = stream
    stream.on('response', (status, headers) => {
      result.status = status
      result.headers = headers
      if (c.hold) tell({ event: 'held', id: c.id })
    })
    stream.on('headers', (headers) => { result.trailers = headers })
    stream.on('error', (err) => { result.error = String(err) })
    let told = false
    let finish = () => {}
    const done = (how) => {
      if (told) return
      told = true
      finish()
      result.how = how
      tell(result)
    }
    stream.on('close', (err) => done(err ? 'reset' : 'end'))
    const read = () => { finish = count(stream, result) }
    if (c.hold) stream.startReading = read
    else read()
    if (c.method === 'GET') return
    stream.write(pattern(c.size || 0))
    if (c.trailers) stream.sendHeaders(c.trailers, () => stream.end())
    else stream.end()
  },
  read (c) { streams[c.id].startReading() },
  abort (c) { streams[c.id].abort() },
  ping () { conn.ping(() => tell({ event: 'pong' })) },
  end () { conn.end() }
}

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const c = JSON.parse(line)
  commands[c.command](c)
})
lines.on('close', () => process.exit(0))
