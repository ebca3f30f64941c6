// A page in React that shows live state, writes, and says how fresh it is.
// Run `halfping demo`, then `npm ci && npm run react` in examples/ (with ?api=http://host:port for another server).
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect, type HalfpingError, sorted } from "halfping";
import { HalfpingProvider, useApi, useLive, useStatus } from "halfping/react";

interface Fleet { vehicles: number; moving: number; stopped: number; passengers: number }
interface Vehicle { route: string; status: string; next_stop: string; note?: string }

const api = connect(new URLSearchParams(location.search).get("api") ?? "http://127.0.0.1:7070");

function Summary() {
  const fleet = useLive<Fleet>("/fleet", { rate: 2, initial: null }); // null: not known yet
  if (!fleet) return <p>{fleet === null ? "Loading…" : "There is no fleet."}</p>;
  return <p><b id="moving">{fleet.moving}</b> of {fleet.vehicles} vehicles are moving, with {fleet.passengers} passengers.</p>;
}

/** The five fastest of them: a view, of which the server tells what changes in it. */
function Fastest() {
  const order = "-speed_mps";
  const fastest = useLive<Record<string, { route: string; speed_mps: number }>>("/vehicles", { order, limit: 5, select: "route", rate: 2 });
  return (
    <ol id="fastest">
      {sorted(fastest, order).map(([id, { route, speed_mps }]) => <li key={id}>{id} on line {route}: {speed_mps} m/s</li>)}
    </ol>
  );
}

function Bus({ id }: { id: string }) {
  const bus = useLive<Vehicle>(`/vehicles/${id}`, { depth: 1, initial: null });
  const api = useApi();
  const [text, setText] = useState("");
  const note = (event: React.FormEvent) => {
    event.preventDefault();
    // What it changes comes back by useLive, here and everywhere.
    api.put(`/vehicles/${id}/note`, text).catch((error: HalfpingError) => alert(error.message));
  };
  if (bus === null) return <h2>{id}: loading…</h2>;
  return (
    <form onSubmit={note}>
      <h2>{id}</h2>
      <p id="bus">{bus ? `Line ${bus.route}, ${bus.status}, next stop ${bus.next_stop}` : "not on the road"}</p>
      <p>Note: <output>{bus?.note ?? "none"}</output></p>
      <input aria-label="Note" value={text} onChange={(event) => setText(event.target.value)} /> <button>Write</button>
    </form>
  );
}

function Freshness() {
  const { state, synced } = useStatus();
  return <footer id="state">{synced ? "in step" : state}</footer>;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <HalfpingProvider api={api}>
      <h1>The fleet, now</h1>
      <Summary />
      <Fastest />
      <Bus id="bus-017" />
      <Freshness />
    </HalfpingProvider>
  </StrictMode>,
);
