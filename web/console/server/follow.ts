import { useSignal, type Signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { api } from '../state/connection';
import { isNotFound, problemOf, type Problem } from '../state/problem';

export type Followed<T> = { state: 'waiting' } | { state: 'here'; value: T; t: number } | { state: 'absent'; hint?: string | undefined } | { state: 'failed'; problem: Problem };

/**
 * One of the server's own resources, for as long as a view is open: the server takes samples only while somebody watches. A server that does not
 * serve them says so as nothing there, or by refusing the link.
 */
export function useFollowed<T>(path: string, depth: number, onValue?: (value: T) => void): Signal<Followed<T>> {
  const followed = useSignal<Followed<T>>({ state: 'waiting' });
  useEffect(() => {
    followed.value = { state: 'waiting' };
    const accept = (value: T | undefined, t: number) => {
      followed.value = value === undefined ? { state: 'absent' } : { state: 'here', value, t };
      if (value !== undefined) onValue?.(value);
    };
    const onError = (error: unknown) => {
      followed.value = isNotFound(error) ? { state: 'absent', hint: problemOf(error).hint } : { state: 'failed', problem: problemOf(error) };
    };
    return api.on(path, (value: T | undefined, change) => accept(value, change.t), { depth, onError });
  }, [path, depth]);
  return followed;
}
