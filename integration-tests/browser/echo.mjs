// A service that echoes what comes over a WebSocket: node echo.mjs; its port is the
// first line that it prints.
import ws from "ws";

const server = new ws.Server({ host: "127.0.0.1", port: 0 }, () => console.log(server.address().port));
server.on("connection", (socket) => socket.on("message", (message) => socket.send(String(message))));
