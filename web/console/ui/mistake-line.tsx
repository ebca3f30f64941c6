type Editor = HTMLInputElement | HTMLTextAreaElement;

interface Props {
  id: string;
  message: string;
  /** Its place in words, and its offset in UTF-16 units, if these are known. */
  at?: { place: string; offset: number } | undefined;
  editor: () => Editor | null;
}

/** A mistake in a text that was typed, with a way to its place. */
export function MistakeLine({ id, message, at, editor }: Props) {
  const show = (offset: number) => {
    const box = editor();
    box?.focus();
    box?.setSelectionRange(offset, offset + 1);
  };
  return (
    <p class="mistake" id={id}>
      {at && (
        <>
          <button type="button" class="link" onClick={() => show(at.offset)}>
            {at.place}
          </button>
          :{' '}
        </>
      )}
      {message}
    </p>
  );
}
