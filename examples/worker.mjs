// Real-time composition: follows a collection and keeps a resource that is derived from it, /stats/by-status.
// Run `halfping demo`, then `npm ci && node worker.mjs [http://127.0.0.1:7070]` in examples/.
import { connect } from "halfping";

const api = connect(process.argv[2] ?? "http://127.0.0.1:7070");
for (const end of ["SIGTERM", "SIGINT"]) process.once(end, () => api.close());
process.stdout.on("error", () => api.close()); // nobody reads any more: `| head`

// All vehicles without what is deeper in them, at most twice a second. While a write below is on its way, changes are not
// queued: the next turn of the loop has the newest state, so this worker is never behind, however slow it is.
for await (const { value } of api.watch("/vehicles", { depth: 2, rate: 2 })) {
  const byStatus = {};
  for (const { status } of Object.values(value ?? {})) byStatus[status] = (byStatus[status] ?? 0) + 1;
  const { rev } = await api.put("/stats/by-status", byStatus);
  console.log(rev, JSON.stringify(byStatus));
}
