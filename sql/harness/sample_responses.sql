-- One response a line of a per-sample log of lm-evaluation-harness or lmms-eval. Responses may stand
-- bare, in a list, or in a list a request. Where options were ranked by log-likelihood, the response is
-- the likeliest option, told apart from the others under the first request's context; requests without
-- context are priors of the same options.
-- grain: line of the log, without empty ones
-- inputs: log_lines, log_options
-- columns:
--   row: number of the line, from 1
--   filter: name of the filter that took the response; null where the log names none
--   numbered: the id is the sample's number in the harness's data, from 0
--   instance_id: the sample's id; null when there is none
--   prediction: the response; null when there is none
--   problem: why the line cannot be taken; null when it can
--   missing: it holds a sample, but no response
WITH parsed AS (
    SELECT
        log_lines.row,
        log_options.id_pointer,
        CASE WHEN json_valid(log_lines.line) THEN log_lines.line::JSON END AS sample
    FROM log_lines
    CROSS JOIN log_options
),

samples AS (
    SELECT
        row,
        sample,
        id_pointer,
        coalesce(json_type(sample) = 'OBJECT', false) AS is_sample,
        json_extract_string(sample, '/filter') AS filter,
        coalesce(
            nullif(json_extract(sample, '/filtered_resps'), 'null'::JSON),
            nullif(json_extract(sample, '/resps'), 'null'::JSON)
        ) AS response
    FROM parsed
),

-- The documents' own ids, if all have one; else the samples' numbers.
log_ids AS (
    SELECT
        CASE
            WHEN max(id_pointer) <> '' THEN max(id_pointer)
            WHEN count(*) = count(json_extract_string(sample, '/doc/id')) THEN '/doc/id'
            ELSE '/doc_id'
        END AS id_pointer
    FROM samples
    WHERE is_sample
),

responses AS (
    SELECT
        samples.row,
        samples.sample,
        samples.is_sample,
        samples.filter,
        samples.response,
        coalesce(log_ids.id_pointer = '/doc_id', false) AS numbered,
        json_extract(samples.sample, log_ids.id_pointer) AS id,
        CASE
            WHEN json_type(response) <> 'ARRAY' THEN [json_extract_string(response, '$')]
            WHEN json_type(response, '/0') = 'ARRAY'
                THEN json_extract_string(response, '$[*][*]')
            ELSE json_extract_string(response, '$[*]')
        END AS texts,
        json_array_length(response)::BIGINT AS requests,
        -- [log-likelihood, whether it is what the model would say] a request
        json_type(response) = 'ARRAY'
        AND json_array_length(response) > 0
        AND len(
            list_filter(
                json_extract_string(response, '$[*][1]'),
                lambda greedy: lower(greedy) IN ('true', 'false')
            )
        ) = json_array_length(response) AS ranked
    FROM samples
    CROSS JOIN log_ids
),

requests AS (
    SELECT
        row,
        sample,
        response,
        unnest(generate_series(0, requests - 1)) AS request
    FROM responses
    WHERE ranked
),

options AS (
    SELECT
        row,
        try_cast(json_extract_string(response, '/' || request || '/0') AS DOUBLE) AS likelihood,
        coalesce(
            json_extract_string(sample, '/arguments/gen_args_' || request || '/arg_0'),
            json_extract_string(sample, '/arguments/' || request || '/0')
        ) AS context,
        trim(
            coalesce(
                json_extract_string(sample, '/arguments/gen_args_' || request || '/arg_1'),
                json_extract_string(sample, '/arguments/' || request || '/1')
            )
        ) AS option,
        coalesce(
            json_extract_string(sample, '/arguments/gen_args_0/arg_0'),
            json_extract_string(sample, '/arguments/0/0')
        ) AS first_context
    FROM requests
),

likeliest AS (
    SELECT
        row,
        arg_max(option, likelihood) FILTER (WHERE context = first_context) AS option,
        count(DISTINCT option) FILTER (WHERE context = first_context) AS options,
        bool_and(context = first_context OR context = '') AS same_context
    FROM options
    GROUP BY row
),

judged AS (
    SELECT
        responses.row,
        responses.filter,
        responses.numbered,
        CASE
            WHEN
                json_type(responses.id) IN ('VARCHAR', 'BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
                THEN nullif(json_extract_string(responses.id, '$'), '')
        END AS instance_id,
        CASE
            WHEN responses.ranked THEN likeliest.option
            WHEN len(responses.texts) = 1 THEN responses.texts[1]
        END AS prediction,
        responses.is_sample,
        responses.ranked,
        coalesce(len(responses.texts), 0) AS texts,
        likeliest.options,
        likeliest.same_context
    FROM responses
    LEFT JOIN likeliest ON responses.row = likeliest.row
)

SELECT
    row,
    filter,
    numbered,
    instance_id,
    prediction,
    CASE
        WHEN NOT is_sample THEN 'the line is no JSON object'
        WHEN instance_id IS NULL THEN 'the sample has no id'
        WHEN ranked AND coalesce(options, 0) = 0
            THEN 'log-likelihoods of options whose texts the log does not hold'
        WHEN ranked AND (options = 1 OR NOT same_context)
            THEN 'log-likelihoods that rank no options of one question'
        WHEN NOT ranked AND texts > 1
            THEN texts || ' responses, of which the harness must take one by a filter'
        WHEN prediction IS NULL THEN 'no response'
    END AS problem,
    coalesce(problem = 'no response', false) AS missing
FROM judged
