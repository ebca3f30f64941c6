import { render } from 'preact';

render(<p>Under construction</p>, document.getElementById('app')!);
