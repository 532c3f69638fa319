// What Node's HTTP server, whose parser is llhttp, takes of bytes: for each message
// on standard input (four bytes of length, then that many), a line of JSON. A
// connection is a stream in memory.
import http from 'node:http'
import { Duplex } from 'node:stream'

const latin1 = chunks => Buffer.concat(chunks).toString('latin1')

const server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0, maxHeaderSize: 1 << 20 })

const turn = () => new Promise(resolve => setImmediate(resolve))
const settled = async () => { for (let i = 0; i < 4; i++) await turn() }

function take (req, res) {
  const seen = { method: req.method, target: req.url, headers: req.rawHeaders, trailers: [], body: '', whole: false }
  req.socket.seen.push(seen)
  const chunks = []
  req.on('data', chunk => chunks.push(chunk))
  req.on('error', () => {})
  req.on('end', () => {
    seen.body = latin1(chunks)
    seen.trailers = req.rawTrailers
    seen.whole = req.complete
    res.end()
  })
}

server.on('request', take)
server.on('checkContinue', take)
server.on('connect', (req, socket) => {
  socket.seen.push({ method: req.method, target: req.url, headers: req.rawHeaders, trailers: [], body: '', whole: true })
  socket.destroy()
})
// What was taken before what is refused is to be seen to its end.
server.on('clientError', async (err, socket) => {
  await settled()
  socket.destroy(err)
})

function ask (bytes) {
  return new Promise(resolve => {
    const socket = new Duplex({ read () {}, write (chunk, encoding, done) { done() } })
    socket.seen = []
    socket.on('error', () => {})
    socket.on('close', () => setImmediate(() => resolve(socket.seen)))
    server.emit('connection', socket)
    socket.push(bytes)
    settled().then(() => socket.push(null))
  })
}

let input = Buffer.alloc(0)
for await (const chunk of process.stdin) {
  input = Buffer.concat([input, chunk])
  while (input.length >= 4 && input.length >= 4 + input.readUInt32BE(0)) {
    const end = 4 + input.readUInt32BE(0)
    process.stdout.write(JSON.stringify(await ask(input.subarray(4, end))) + '\n')
    input = input.subarray(end)
  }
}
