import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { clock } from '../lib/format';
import { logIn, logOut, lookAs, lookAsOneself, reason, tellsApart, who } from '../state/identity';
import { problemOf } from '../state/problem';
import { claims, token } from '../state/token';

type Box = 'login' | 'look' | undefined;

/** Who is logged in, and the way in and out. Nothing where nobody is told apart. */
export function Login() {
  const box = useSignal<Box>(undefined);
  if (!tellsApart.value) return null;
  const turn = (to: Box) => () => (box.value = box.value === to ? undefined : to);
  return (
    <div class="login">
      {token() === undefined ? (
        <button type="button" aria-expanded={box.value === 'login'} onClick={turn('login')}>
          Log in
        </button>
      ) : (
        <>
          <span id="who" class="who" title={title()}>
            {reason.value ? 'token refused' : who.value ? (who.value.sub ?? 'somebody without a name') : '…'}
          </span>
          {claims() === undefined && !reason.value && (
            <button type="button" aria-expanded={box.value === 'look'} onClick={turn('look')}>
              View as…
            </button>
          )}
          <button type="button" onClick={logOut}>
            Log out
          </button>
        </>
      )}
      {(box.value === 'login' || reason.value) && <LoginForm reason={reason.value} />}
      {box.value === 'look' && !reason.value && <LookForm />}
    </div>
  );
}

/** Says that one looks as somebody else, for as long as that is so. */
export function Looking() {
  const as = claims();
  if (as === undefined) return null;
  return (
    <p id="looking" class="status-hint looking" role="note">
      <span>
        What is shown is what somebody with the claims <code>{as}</code> would be shown. Nothing can be written.
      </span>
      <button type="button" onClick={lookAsOneself}>
        Stop
      </button>
    </p>
  );
}

function title(): string {
  const until = who.value?.until;
  return until === undefined ? 'the token does not end' : `until ${clock(until)}`;
}

/** A box in which something is typed that the server may refuse. */
function Form({ name, send, children }: { name: string; send: (text: string) => Promise<void>; children: ComponentChildren }) {
  const mistake = useSignal('');
  const isBusy = useSignal(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('text') as HTMLInputElement;
    const text = input.value.trim();
    if (!text) return;
    isBusy.value = true;
    mistake.value = '';
    send(text)
      .catch((error: unknown) => {
        const { title, detail, hint } = problemOf(error);
        mistake.value = `${title}: ${[detail, hint].filter(Boolean).join('. ')}`;
      })
      .finally(() => (isBusy.value = false));
  };
  return (
    <form class="login-form" onSubmit={submit}>
      {children}
      <button type="submit" disabled={isBusy.value}>
        {name}
      </button>
      {mistake.value && (
        <p class="login-mistake" role="alert">
          {mistake.value}
        </p>
      )}
    </form>
  );
}

function LoginForm({ reason }: { reason: string | undefined }) {
  return (
    <Form name="Log in" send={(text) => logIn(text.replace(/^Bearer\s+/i, ''))}>
      {reason && (
        <p id="login-reason" role="note">
          {reason}
        </p>
      )}
      <label>
        Token or API key
        <input name="text" type="password" autocomplete="off" spellcheck={false} placeholder="eyJ… or hpk_…" />
      </label>
      <p class="dim">It is kept in this tab, until you log out or close it.</p>
    </Form>
  );
}

function LookForm() {
  return (
    <Form name="View" send={lookAs}>
      <label>
        Claims, as JSON
        <textarea name="text" rows={4} spellcheck={false} placeholder={'{"sub":"kim","roles":["support"]}'} />
      </label>
      <p class="dim">For who may read everything: shows what rules let somebody with these claims read. Nothing can be written meanwhile.</p>
    </Form>
  );
}
