import { useEffect, useState } from 'preact/hooks';
import { copyText } from './clipboard';

const SAID_MS = 1_500;

export function CopyButton({ text, name = 'Copy' }: { text: () => string; name?: string }) {
  const [said, say] = useState('');
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => say(''), SAID_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <button type="button" class="copy" onClick={async () => say((await copyText(text())) ? 'Copied' : 'Select and copy by hand')}>
      <span aria-live="polite">{said || name}</span>
    </button>
  );
}
