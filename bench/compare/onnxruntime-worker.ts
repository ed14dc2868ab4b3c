// The worker of SessionWorker: one session, from the path in workerData until any message comes.
import { parentPort, workerData } from 'node:worker_threads';
import { createSession } from './onnxruntime.js';

const session = await createSession(workerData as string);
parentPort?.once('message', () => {
  void session.release().then(() => parentPort?.close());
});
parentPort?.postMessage('loaded');
