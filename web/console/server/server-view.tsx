import { Absent } from './absent';
import { ServerCharts } from './charts';
import { useFollowed } from './follow';
import { Limits } from './limits';
import { NamedViews } from './named-views';
import { ServerNumbers } from './numbers';
import { OWN, type Own } from './own';
import { ServerSeries } from './series';

const series = new ServerSeries();

/** Two levels: everything but the sessions' own members. */
const DEPTH = 2;

export function ServerView() {
  const followed = useFollowed<Own>(OWN, DEPTH, (own) => series.add(own)).value;
  if (followed.state !== 'here') return <Absent followed={followed} />;
  const own = followed.value;
  return (
    <div class="server">
      <ServerCharts series={series} sample={own} />
      <ServerNumbers own={own} />
      <NamedViews own={own} />
      <Limits own={own} />
    </div>
  );
}
