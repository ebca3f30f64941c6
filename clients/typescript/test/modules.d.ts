declare module 'json-merge-patch' {
  const mergePatch: { apply(target: any, patch: any): any; generate(from: any, to: any): any };
  export default mergePatch;
}
