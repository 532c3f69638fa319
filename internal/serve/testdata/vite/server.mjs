// Vite's development server: node server.mjs FOLDER PORT. It says ready when it listens.
import { createServer } from "vite";

const [root, port] = process.argv.slice(2);
const server = await createServer({
  root,
  configFile: false,
  cacheDir: `${root}/.cache`,
  logLevel: "error",
  server: { host: "127.0.0.1", port: Number(port), strictPort: true },
});
await server.listen();
console.log("ready");
// It ends when who has started it does.
process.stdin.on("end", () => process.exit(0)).resume();
