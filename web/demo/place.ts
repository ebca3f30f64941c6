/** The place and the movement of a thing, by any of the names that values have for them. */

export interface Place {
  lat: number;
  lon: number;
  /** Degrees from north, clockwise. */
  heading: number | undefined;
  /** In the value's own unit. */
  speed: number | undefined;
  unit: Unit;
}

export interface Unit {
  readonly name: string;
  /** The member that has the speed, if any does. */
  readonly member?: string;
  /** So many metres a second are one. */
  readonly mps: number;
}

export const MPS: Unit = { name: 'm/s', mps: 1 };
const UNITS = [
  { ...MPS, member: 'speed_mps' },
  { name: 'kt', mps: 0.514444, member: 'groundspeed_kt' },
  { name: 'km/h', mps: 1 / 3.6, member: 'speed_kmh' },
];
const HEADINGS = ['heading_deg', 'track_deg', 'bearing_deg'];

const number = (value: unknown) => (typeof value === 'number' ? value : undefined);

export function placeOf(value: unknown): Place | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = value as Record<string, unknown>;
  const at = (typeof members['position'] === 'object' && members['position'] !== null ? members['position'] : members) as Record<string, unknown>;
  const lat = number(at['lat'] ?? at['latitude']);
  const lon = number(at['lon'] ?? at['lng'] ?? at['longitude']);
  if (lat === undefined || lon === undefined) return undefined;
  const unit = UNITS.find(({ member }) => member in members);
  const heading = HEADINGS.map((name) => number(members[name])).find((heading) => heading !== undefined);
  return { lat, lon, heading, speed: unit && number(members[unit.member]), unit: unit ?? MPS };
}
