/** The parts of `/_server` that the console shows. All may be missing: the server may be of another version. */
export interface Counters {
  requests?: number;
  commands?: number;
  commits?: number;
  frames?: number;
  frames_shared?: number;
  conflated?: number;
  bytes_in?: number;
  bytes_out?: number;
}

export interface Own {
  version?: string;
  epoch?: string;
  revision?: number;
  started?: number;
  now?: number;
  status?: string;
  storage?: { status?: string; kind?: string; detail?: string } & Record<string, unknown>;
  memory_bytes?: number;
  tree?: { bytes?: number; names?: number; tombstones?: number };
  counts?: { connections?: number; sessions?: number; links?: number; places?: number };
  totals?: Counters;
  rates?: Counters;
  age_ms?: { p50?: number | null; p99?: number | null };
  limits?: Record<string, number>;
  /** By their paths: `/vehicles?limit=10&order=-speed`, not encoded. */
  views?: Record<string, string>;
}

export interface OwnSession {
  transport?: string;
  remote?: string | null;
  since?: number;
  links_total?: number;
  behind?: boolean;
  age_ms?: number;
  frames?: number;
  conflated?: number;
  bytes?: number;
  rates?: { frames?: number; bytes?: number };
}

export interface OwnLink {
  path?: string;
  /** The part of it that the link shows, in the words of the server. */
  view?: string;
  depth?: number;
  rate?: number;
  priority?: number;
  behind?: boolean;
}

export const OWN = '/_server';
