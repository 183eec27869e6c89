// A keep-alive HTTP/1.1 client for JSON, as small as possible, so that the client is not what is
// measured. `http.py` is the same for Python.
import { connect } from "node:net";

const HOST = "127.0.0.1";
const END_OF_HEAD = "\r\n\r\n";

/// One connection; one request at a time.
class Connection {
  constructor(port) {
    this.socket = connect({ host: HOST, port, noDelay: true });
    this.received = Buffer.alloc(0);
    this.socket.on("data", (data) => this.receive(data));
    this.socket.on("error", (error) => this.reject?.(error));
    this.socket.on("close", () => this.reject?.(new Error("the server closed a connection")));
  }

  exchange(request) {
    return new Promise((resolve, reject) => {
      Object.assign(this, { resolve, reject });
      this.socket.write(request);
    });
  }

  receive(data) {
    this.received = this.received.length === 0 ? data : Buffer.concat([this.received, data]);
    const end = this.received.indexOf(END_OF_HEAD);
    if (end < 0) return;
    const head = this.received.latin1Slice(0, end);
    const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? [];
    const body = end + END_OF_HEAD.length;
    if (length === undefined) return this.reject(new Error(`an answer without a length: ${head}`));
    if (this.received.length < body + Number(length)) return;
    const text = this.received.utf8Slice(body, body + Number(length));
    this.received = Buffer.alloc(0);
    this.resolve({ status: Number(head.split(" ", 2)[1]), text });
  }
}

/// As many connections as there have been requests at once.
export class Pool {
  constructor(port) {
    this.port = port;
    this.free = [];
  }

  /// What a request that succeeds is answered, parsed.
  async post(path, body, headers = {}) {
    const data = JSON.stringify(body);
    const fields = { "Content-Type": "application/json", ...headers };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const length = `Content-Length: ${Buffer.byteLength(data)}\r\n\r\n`;
    const request = `POST ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${lines}${length}${data}`;
    const connection = this.free.pop() ?? new Connection(this.port);
    const { status, text } = await connection.exchange(request);
    this.free.push(connection);
    if (status < 200 || status > 299) throw new Error(`${path} was answered by ${status}: ${text}`);
    return JSON.parse(text);
  }
}
