import { Anchor } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { type ReactNode, useMemo } from "react";
import { Link, useParams } from "react-router";
import { ApiError, runPath } from "../api/client";
import { Empty, Failure, Loading } from "../parts/states";
import { RunHead } from "../run/head";
import styles from "../run/run.module.css";
import { RunLog } from "../run/run_log";
import { Tasks } from "../run/tasks";
import { axisOf } from "../run/time";
import { useRun } from "../run/use_run";
import { useSession } from "../session";

const RUN_LOG = "@run";

export default function RunPage(): ReactNode {
  const { namespace = "", run: name = "" } = useParams();
  useDocumentTitle(`${name} · joblog`);
  const session = useSession();
  const { run, logs, error, toldAt, retry } = useRun(runPath(namespace, name));
  const now = Date.now();
  const tasks = useMemo(() => logs.filter((log) => log.task !== RUN_LOG), [logs]);
  const runLogs = useMemo(() => logs.filter((log) => log.task === RUN_LOG), [logs]);

  if (error instanceof ApiError && error.status === 404)
    return (
      <Empty title="There is no such run">
        {run ? "It was deleted" : "It may have been deleted"}, with all its logs. <br />
        <Anchor component={Link} to={`/runs?${new URLSearchParams({ namespace })}`}>
          See the runs of {namespace}
        </Anchor>
      </Empty>
    );
  if (run === undefined || toldAt === 0)
    return error ? <Failure error={error} retry={retry} /> : <Loading label="Loading the run" />;
  const axis = axisOf(tasks, now);
  return (
    <div className={styles.page}>
      <RunHead
        run={run}
        logs={tasks.length}
        bytes={tasks.reduce((sum, log) => sum + log.length, 0)}
        milliseconds={axis.to - axis.from}
      />
      {error ? <Failure error={error} retry={retry} since={toldAt} /> : null}
      <div className={styles.body}>
        <Tasks logs={tasks} axis={axis} now={now} />
        {session.may("log.read") ? <RunLog logs={runLogs} /> : null}
      </div>
    </div>
  );
}
