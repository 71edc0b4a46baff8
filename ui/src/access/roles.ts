// What each role is for, in the order of what it may do.

export interface RoleText {
  name: string;
  short: string;
  may: string;
  mayNot: string;
}

export const roles: readonly RoleText[] = [
  {
    name: "viewer",
    short: "sees that runs exist and how they ended",
    may: "See runs, their tasks, labels and outcomes.",
    mayNot: "Read what a log says.",
  },
  {
    name: "reader",
    short: "reads logs",
    may: "What a viewer may; read, search, download and verify logs.",
    mayNot: "Write or delete.",
  },
  {
    name: "writer",
    short: "sends logs; for workers",
    may: "Join as a worker, and send logs.",
    mayNot: "Read anything, its own logs neither.",
  },
  {
    name: "operator",
    short: "looks after the leader, reads no log",
    may: "See runs, workers and storage; verify logs; rotate keys; revoke certificates; read metrics.",
    mayNot: "Read what a log says, delete, or make tokens.",
  },
  {
    name: "admin",
    short: "everything",
    may: "Everything, on the namespaces that it is granted on; on all of them also what is the leader's: tokens, keys, the audit log.",
    mayNot: "Change the audit log.",
  },
];

export const roleOptions = roles.map((role) => ({ value: role.name, label: `${role.name}: ${role.short}` }));
