/** The compiler's knowledge of paths. Nothing here runs: a type that is another does not compile. */
import { expectTypeOf, test } from 'vitest';
import { type Api, type At, type Change, connect, type Live, path, sorted } from '../src/index.js';
import { hooksOf, useLive } from '../src/react.js';

interface Order {
  readonly status: 'new' | 'shipped';
  readonly lines: readonly { readonly sku: string }[];
  readonly customer?: { readonly name: string };
}
interface Schema {
  readonly orders: { readonly [id: string]: Order };
  readonly config: { readonly theme: string };
}

test('a path has the type of what is there', () => {
  expectTypeOf<At<Schema, '/'>>().toEqualTypeOf<Schema>();
  expectTypeOf<At<Schema, '/orders'>>().toEqualTypeOf<Schema['orders']>();
  expectTypeOf<At<Schema, '/orders/42'>>().toEqualTypeOf<Order>();
  expectTypeOf<At<Schema, `/orders/${string}`>>().toEqualTypeOf<Order>();
  expectTypeOf<At<Schema, `/orders/${number}/status`>>().toEqualTypeOf<'new' | 'shipped'>();
  expectTypeOf<At<Schema, '/orders/42/customer/name'>>().toEqualTypeOf<string>();
  expectTypeOf<At<Schema, '/orders/42/lines/0'>>().toEqualTypeOf<undefined>();
  expectTypeOf<At<Schema, '/nope'>>().toEqualTypeOf<undefined>();
  expectTypeOf<At<Schema, 'orders'>>().toEqualTypeOf<never>();
  expectTypeOf<At<any, '/orders/42'>>().toEqualTypeOf<any>();
  expectTypeOf<At<Schema, string>>().toEqualTypeOf<any>();
});

test('a path that is made of names has it too', () => {
  const id = String(Math.random());
  expectTypeOf(path('orders', '42')).toEqualTypeOf<'/orders/42'>();
  expectTypeOf(path('orders', id, 'status')).toEqualTypeOf<`/orders/${string}/status`>();
  expectTypeOf<At<Schema, ReturnType<typeof path<['orders', string]>>>>().toEqualTypeOf<Order>();
  expectTypeOf(path()).toEqualTypeOf<'/'>();
  expectTypeOf(path(...([id, id] as string[]))).toEqualTypeOf<string>();
  const check = async (api: Api<Schema>, order: Order) => {
    await api.put(path('orders', id), order);
    api.on(path('orders', 42), (value) => expectTypeOf(value).toEqualTypeOf<Order | undefined>());
  };
  expectTypeOf(check).toBeFunction();
});

test('so have hooks', () => {
  const alone = () => {
    expectTypeOf(useLive<Order>('/orders/42')).toEqualTypeOf<Order | undefined>();
    expectTypeOf(useLive<Order>('/orders/42', { rate: 1 })).toEqualTypeOf<Order | undefined>();
    expectTypeOf(useLive<Order>('/orders/42', { initial: null })).toEqualTypeOf<Order | null | undefined>();
    expectTypeOf(useLive<Order, 'loading'>('/orders/42', { initial: 'loading' })).toEqualTypeOf<Order | 'loading' | undefined>();
    expectTypeOf(useLive('/orders/42', { initial: 'loading' })).toEqualTypeOf<any>();
  };
  const check = () => {
    const { useLive, useApi } = hooksOf<Schema>();
    expectTypeOf(useLive('/orders/42')).toEqualTypeOf<Order | undefined>();
    expectTypeOf(useLive('/orders/42', { initial: null })).toEqualTypeOf<Order | null | undefined>();
    expectTypeOf(useApi().peek('/config/theme')).toEqualTypeOf<string | undefined>();
  };
  expectTypeOf(alone).toBeFunction();
  expectTypeOf(check).toBeFunction();
});

test('a view has the type of what it is a part of, or the narrower one that a handler says', () => {
  type Statuses = { readonly [id: string]: Pick<Order, 'status'> };
  const check = async () => {
    const api = connect<Schema>('http://x/');
    const view = { where: 'status == "new"', select: 'status' };
    api.on('/orders', (orders) => expectTypeOf(orders).toEqualTypeOf<Schema['orders'] | undefined>(), view);
    api.on('/orders', (orders: Statuses | undefined) => void orders, view);
    // @ts-expect-error: no such status
    api.on('/orders', (orders: { readonly [id: string]: { status: 'lost' } } | undefined) => void orders, view);
    expectTypeOf(useLive<Statuses>('/orders', view)).toEqualTypeOf<Statuses | undefined>();
    const { value } = await api.get('/orders', view);
    expectTypeOf(value).toEqualTypeOf<Schema['orders'] | undefined>();
    expectTypeOf(sorted(value, '-status')).toEqualTypeOf<[name: string, member: Order][]>();
    expectTypeOf(sorted(connect().peek('/orders'))[0]![1]).toBeAny();
    // @ts-expect-error: a number has no members
    sorted(1);
  };
  expectTypeOf(check).toBeFunction();
});

test('a count is a number, and a list has names and members', () => {
  const check = async (either: boolean) => {
    const api = connect<Schema>('http://x/');
    const count = { where: 'status == "new"', count: true } as const;
    api.on('/orders', (orders) => expectTypeOf(orders).toEqualTypeOf<number | undefined>(), { count: true, onError: (error) => void error.type });
    api.on('/orders', (orders) => expectTypeOf(orders).toEqualTypeOf<number | Schema['orders'] | undefined>(), { count: either });
    api.on('/orders', (orders) => expectTypeOf(orders).toEqualTypeOf<Schema['orders'] | undefined>(), { count: false, order: '-status', limit: 3 });
    expectTypeOf(api.live('/orders', count)).toEqualTypeOf<Live<number>>();
    expectTypeOf(api.peek('/orders', count)).toEqualTypeOf<number | undefined>();
    for await (const { value } of api.watch('/orders', count)) expectTypeOf(value).toEqualTypeOf<number | undefined>();
    expectTypeOf(await api.get('/orders', count)).toEqualTypeOf<{ value: number | undefined; rev: string }>();
    const { value } = await api.get('/orders', { order: 'status', as: 'list' });
    expectTypeOf(value).toEqualTypeOf<[name: string, member: Order][] | undefined>();
    expectTypeOf((await connect().get('/orders', { as: 'list' })).value).toEqualTypeOf<[name: string, member: any][] | undefined>();
    expectTypeOf((await connect().get('/orders', { count: true })).value).toEqualTypeOf<number | undefined>();
    // @ts-expect-error: what is told whole each time is for who reads once
    api.on('/orders', () => {}, { as: 'list' });
    expectTypeOf(useLive('/orders', count)).toEqualTypeOf<number | undefined>();
    expectTypeOf(useLive('/orders', { count: true, initial: null })).toEqualTypeOf<number | null | undefined>();
    const hooks = hooksOf<Schema>();
    expectTypeOf(hooks.useLive('/orders', count)).toEqualTypeOf<number | undefined>();
    expectTypeOf(hooks.useLive('/orders', { count: true, initial: null })).toEqualTypeOf<number | null | undefined>();
    expectTypeOf(hooks.useLive('/orders', { order: 'status', limit: 3 })).toEqualTypeOf<Schema['orders'] | undefined>();
    expectTypeOf(sorted(useLive('/orders', { order: 'status', limit: 3 }), 'status')[0]![1]).toBeAny();
    expectTypeOf(sorted(useLive<Schema['orders']>('/orders', { order: 'status', limit: 3 }), 'status')).toEqualTypeOf<[name: string, member: Order][]>();
    expectTypeOf(sorted(hooks.useLive('/orders', { order: 'status', limit: 3 }), 'status')).toEqualTypeOf<[name: string, member: Order][]>();
  };
  expectTypeOf(check).toBeFunction();
});

test('so have handlers, mirrors, reads and writes', () => {
  const check = async () => {
    const api = connect<Schema>('http://x/');
    api.on('/orders/42', (order, change) => {
      expectTypeOf(order).toEqualTypeOf<Order | undefined>();
      expectTypeOf(change).toEqualTypeOf<Change<Order>>();
    });
    expectTypeOf(api.live('/config')).toEqualTypeOf<Live<{ readonly theme: string }>>();
    for await (const { value } of api.watch('/orders/42/status')) expectTypeOf(value).toEqualTypeOf<'new' | 'shipped' | undefined>();
    expectTypeOf(await api.get('/config/theme')).toEqualTypeOf<{ value: string | undefined; rev: string }>();
    await api.put('/orders/42/status', 'shipped');
    // @ts-expect-error: no such status
    await api.put('/orders/42/status', 'lost');
    await api.merge('/orders/42', { customer: null, status: 'new' });
    // @ts-expect-error: no such member
    await api.merge('/orders/42', { colour: 'red' });
    const untyped = connect();
    untyped.on('/anything', (value) => value.at.all);
  };
  expectTypeOf(check).toBeFunction();
});
