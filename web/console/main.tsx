import { render } from 'preact';
import { App } from './app';
import { probe } from './probe';
import { api } from './state/connection';
import './styles/index.css';
import { Tree } from './tree/tree';

const tree = new Tree(api);
window.halfpingConsole = probe(tree);
render(<App tree={tree} />, document.getElementById('app')!);
