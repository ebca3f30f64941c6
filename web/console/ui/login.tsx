import { useSignal } from '@preact/signals';
import { clock } from '../lib/format';
import { logIn, logOut, reason, tellsApart, who } from '../state/identity';
import { problemOf } from '../state/problem';
import { token } from '../state/token';

/** Who is logged in, and the way in and out. Nothing where nobody is told apart. */
export function Login() {
  const isOpen = useSignal(false);
  if (!tellsApart.value) return null;
  const isIn = token() !== undefined;
  return (
    <div class="login">
      {isIn ? (
        <>
          <span id="who" class="who" title={title()}>
            {reason.value ? 'token refused' : who.value ? (who.value.sub ?? 'somebody without a name') : '…'}
          </span>
          <button type="button" onClick={logOut}>
            Log out
          </button>
        </>
      ) : (
        <button type="button" aria-expanded={isOpen.value || reason.value !== undefined} onClick={() => (isOpen.value = !isOpen.value)}>
          Log in
        </button>
      )}
      {(isOpen.value || reason.value) && <LoginForm reason={reason.value} />}
    </div>
  );
}

function title(): string {
  const until = who.value?.until;
  return until === undefined ? 'the token does not end' : `until ${clock(until)}`;
}

function LoginForm({ reason }: { reason: string | undefined }) {
  const mistake = useSignal('');
  const isBusy = useSignal(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('token') as HTMLInputElement;
    const text = input.value.trim().replace(/^Bearer\s+/i, '');
    if (!text) return;
    isBusy.value = true;
    mistake.value = '';
    logIn(text)
      .catch((error: unknown) => {
        const { title, detail, hint } = problemOf(error);
        mistake.value = `${title}: ${[detail, hint].filter(Boolean).join('. ')}`;
      })
      .finally(() => (isBusy.value = false));
  };
  return (
    <form class="login-form" onSubmit={submit}>
      {reason && (
        <p id="login-reason" role="note">
          {reason}
        </p>
      )}
      <label>
        Token or API key
        <input name="token" type="password" autocomplete="off" spellcheck={false} placeholder="eyJ… or hpk_…" />
      </label>
      <button type="submit" disabled={isBusy.value}>
        Log in
      </button>
      {mistake.value && (
        <p class="login-mistake" role="alert">
          {mistake.value}
        </p>
      )}
      <p class="dim">It is kept in this tab, until you log out or close it.</p>
    </form>
  );
}
