"""HTTP: routes, schemas, tokens, limits, bodies and answers, problem documents."""
