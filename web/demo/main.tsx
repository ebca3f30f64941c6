import { render } from 'preact';
import { Panel, Selected } from './panel';
import { Stage } from './stage';

render(
  <>
    <Stage />
    <Panel />
    <Selected />
  </>,
  document.getElementById('app')!,
);
