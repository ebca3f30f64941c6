import { api, shown, status } from '../state/connection';

const NAMES = { websocket: 'WebSocket', events: 'event stream' } as const;

/** Always in sight: whether what is shown is true now. */
export function StatusLine() {
  const { tone, word, text } = shown.value;
  const { state, transport } = status.value;
  const off = state === 'off' || state === 'closed' || state === 'refused';
  return (
    <div class="status">
      <span class="status-text" title={text}>
        <span class={`dot ${tone}`} aria-hidden="true" />
        {text}
      </span>
      <span class="off-screen" role="status">
        {word}
      </span>
      {transport && state === 'live' && <span class="dim transport">{NAMES[transport]}</span>}
      <button type="button" onClick={() => (off ? api.reconnect() : api.disconnect())}>
        {off ? 'Reconnect' : 'Disconnect'}
      </button>
    </div>
  );
}

export function StatusHint() {
  const { hint, error, state } = status.value;
  // Who has to log in is told so where that is done.
  if (error?.status === 401) return null;
  const text = hint ?? ((state === 'waiting' || state === 'refused') && error ? [error.detail, error.hint].filter(Boolean).join(' ') : undefined);
  return text ? (
    <p class="status-hint" role="note">
      {text}
    </p>
  ) : null;
}
