import type { ComponentChildren, HTMLAttributes } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { reveal, visible } from '../lib/window';

export interface ListHandle {
  reveal(index: number): void;
  /** Rows that fit, for page up and down. */
  page(): number;
}

interface Props extends Omit<HTMLAttributes<HTMLDivElement>, 'ref'> {
  count: number;
  rowHeight: number;
  row: (index: number) => ComponentChildren;
  /** Filled in once the list is there. */
  handle?: { current: ListHandle | null };
}

/** A list of which only the rows in view are in the document. All rows are equally high. */
export function VirtualList({ count, rowHeight, row, handle, class: className, ...rest }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 0 });

  useLayoutEffect(() => {
    const element = box.current!;
    const measure = () => {
      const { scrollTop: top, clientHeight: height } = element;
      setView((before) => (before.top === top && before.height === height ? before : { top, height }));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    measure();
    if (handle) {
      handle.current = {
        reveal: (index) => {
          element.scrollTop = reveal(index, element.scrollTop, element.clientHeight, rowHeight);
          measure();
        },
        page: () => Math.max(1, Math.floor(element.clientHeight / rowHeight) - 1),
      };
    }
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
      if (handle) handle.current = null;
    };
  }, [rowHeight, handle]);

  const { from, to } = visible(view.top, view.height, rowHeight, count);
  const rows = [];
  for (let index = from; index < to; index++) rows.push(row(index));
  return (
    <div {...rest} ref={box} class={`list ${className ?? ''}`}>
      <div class="list-space" role="none" style={{ height: `${count * rowHeight}px` }}>
        <div class="list-rows" role="none" style={{ transform: `translateY(${from * rowHeight}px)` }}>
          {rows}
        </div>
      </div>
    </div>
  );
}
