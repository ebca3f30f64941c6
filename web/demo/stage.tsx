/** The map, and what lies over it. */

import { useEffect, useRef } from 'preact/hooks';
import { SPEEDS } from './colours';
import * as demo from './demo';
import { count, distance } from './text';

export function Stage() {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => demo.start(host.current!), []);
  const isFrozen = demo.now.value.frozenMs !== undefined;
  return (
    <main class={isFrozen ? 'stage frozen' : 'stage'}>
      <div
        ref={host}
        id="map"
        class="map"
        tabIndex={0}
        role="application"
        aria-label="Map of what moves. Arrow keys select a neighbour, Escape selects nothing, plus and minus zoom, 0 shows all."
      />
      <div class="zoom">
        <button aria-label="Zoom in" onClick={() => demo.map?.zoom(1.5)}>
          +
        </button>
        <button aria-label="Zoom out" onClick={() => demo.map?.zoom(1 / 1.5)}>
          −
        </button>
        <button aria-label="Show all" onClick={() => demo.map?.reset()}>
          ⌂
        </button>
      </div>
      <Legend />
      <Hovered />
      {isFrozen && (
        <p class="badge" aria-hidden="true">
          this tab’s network is frozen
        </p>
      )}
    </main>
  );
}

function Legend() {
  void demo.viewed.value;
  void demo.now.value;
  const bar = demo.map?.scaleBar(120);
  const { fleet } = demo;
  return (
    <div class="legend">
      <div class="ramp">
        <i class="speed-0" />
        <span>stands</span>
        <span>{count(fleet?.slow ?? 0)}</span>
        {Array.from({ length: SPEEDS - 1 }, (_, n) => (
          <i key={n} class={`speed-${n + 1}`} />
        ))}
        <span>
          {count(fleet?.fast ?? 0)} {fleet?.unit.name}
        </span>
      </div>
      {bar && (
        <svg class="bar" width={bar.width + 2} height="8" aria-hidden="true">
          <path d={`M1 0v6h${bar.width.toFixed(1)}v-6`} />
        </svg>
      )}
      {bar && <span>{distance(bar.metres)}</span>}
    </div>
  );
}

function Hovered() {
  const tip = useRef<HTMLDivElement>(null);
  const found = demo.hovered.value;
  useEffect(() => {
    if (found && tip.current) tip.current.style.transform = `translate(${found.x + 14}px, ${found.y + 14}px)`;
  });
  if (!found) return null;
  const { entity } = found;
  return (
    <div ref={tip} class="tip">
      <b>{entity.id}</b> {entity.speed.toFixed(0)} {demo.fleet?.unit.name}
    </div>
  );
}
