import type { ComponentChildren } from 'preact';

interface Tab {
  id: string;
  name: string;
}

interface Props {
  label: string;
  tabs: readonly Tab[];
  open: string;
  onOpen: (id: string) => void;
  children: ComponentChildren;
}

/** The tabs pattern of ARIA: one stop for the Tab key, arrows between tabs. */
export function Tabs({ label, tabs, open, onOpen, children }: Props) {
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.id === open);
    const next = tabs[(at + step + tabs.length) % tabs.length]!;
    onOpen(next.id);
    document.getElementById(`tab-${next.id}`)?.focus();
  };
  return (
    <section class="tabs">
      <div class="tab-strip" role="tablist" aria-label={label} onKeyDown={move}>
        {tabs.map((tab) => (
          <button
            key={tab.id}
            id={`tab-${tab.id}`}
            type="button"
            role="tab"
            aria-selected={tab.id === open}
            aria-controls={`tab-panel-${tab.id}`}
            tabIndex={tab.id === open ? 0 : -1}
            onClick={() => onOpen(tab.id)}
          >
            {tab.name}
          </button>
        ))}
      </div>
      <div class="tab-panel" role="tabpanel" id={`tab-panel-${open}`} aria-labelledby={`tab-${open}`} key={open}>
        {children}
      </div>
    </section>
  );
}
