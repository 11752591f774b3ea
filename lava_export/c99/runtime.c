/* The runtime of a network of integers; network.c holds its tables. See runtime.h. */
#include "runtime.h"

#include <stddef.h>
#include <string.h>

#define STATE_LIMIT 8388608 /* M = 2^23 */
#define SUM_LIMIT 16777216  /* 2^24 */

static uint32_t counts[NET_POPULATIONS]; /* spikes of the tick */
static net_sum *slots[NET_PORTS];        /* the sums of the tick */
static uint32_t now;
static uint8_t sending; /* whether the spikes of the next tick are being sent */
static enum net_status status;

static int32_t get(const net_param *parameter, uint32_t n)
{
    return parameter->values[parameter->each ? n : 0];
}

/* kept / 4096 of a state, rounded towards zero, as C divides. */
static int64_t decay(int64_t state, int32_t kept)
{
    return state * kept / 4096;
}

static int64_t divide_down(int64_t value, int64_t divisor)
{
    return value / divisor - (value % divisor < 0);
}

/* Return a value below the limit; else note the overflow and return 0. */
static int32_t require(int64_t value, int64_t limit)
{
    if (value > -limit && value < limit) return (int32_t)value;
    status = NET_OVERFLOW;
    return 0;
}

static void clear(const net_population *p)
{
    const size_t n = p->size;
    if (p->u) memset(p->u, 0, n * sizeof *p->u);
    if (p->v) memset(p->v, 0, n * sizeof *p->v);
    if (p->a) memset(p->a, 0, n * sizeof *p->a);
    if (p->residue) memset(p->residue, 0, n * sizeof *p->residue);
    if (p->error) memset(p->error, 0, n * sizeof *p->error);
    if (p->wait) memset(p->wait, 0, n * sizeof *p->wait);
}

static net_sum *find_slot(const net_port *port, uint32_t tick)
{
    return port->sums + (size_t)(tick % port->slots) * port->size;
}

/* Return the sum of the tick of a neuron, and leave zeros for a later tick.
 * place: of the neuron in a slot that is laid out channel last. */
static int32_t take(const net_population *p, uint32_t n, uint32_t place)
{
    int64_t x = 0;
    for (uint32_t k = p->first_port; k < p->end_port; k++) {
        const net_port *port = &net_ports[k];
        net_sum *sum = slots[k];
        int64_t s;
        if (port->delays_out) sum = find_slot(port, now + port->slots - port->delays_out[n]);
        sum += port->channels > 1 ? place : n;
        s = *sum;
        *sum = 0;
        if (port->divisor > 1) s = divide_down(require(s, INT64_C(2147483648)), port->divisor);
        if (port->modulo) s -= divide_down(s + STATE_LIMIT, SUM_LIMIT) * SUM_LIMIT;
        x += s;
    }
    return require(x, SUM_LIMIT);
}

static void fire(const net_population *p, uint32_t n, int32_t value)
{
    uint32_t *count = &counts[p - net_populations];
    p->fired[*count] = (net_index)n;
    if (p->sent) p->sent[*count] = value;
    *count += 1;
}

/* One tick of a lif, an alif, an li or a ternary neuron, whose sum is x. */
static void step_neuron(const net_population *p, uint32_t n, int32_t x)
{
    const int32_t bias = now >= p->bias_after ? get(&p->bias, n) : 0;
    const int32_t old = p->v[n];
    int64_t a = p->a ? p->a[n] : 0;
    int64_t u = p->u ? p->u[n] : 0;
    int32_t wait = p->wait ? p->wait[n] : 0;
    int32_t value;
    int64_t v;

    /* At rest: thresholds are not below 0. */
    if (!x && !u && !old && !a && !bias && !wait) return;
    u = decay(u, get(&p->keep_u, n)) + (int64_t)x * 64;
    u += u > STATE_LIMIT ? -2 * STATE_LIMIT : u <= -STATE_LIMIT ? 2 * STATE_LIMIT : 0;
    if (p->u) p->u[n] = (net_current)u;
    v = decay(old, get(&p->keep_v, n)) + u + bias;
    v = v >= STATE_LIMIT ? STATE_LIMIT - 1 : v <= -STATE_LIMIT ? 1 - STATE_LIMIT : v;
    if (p->kind == NET_LI) {
        p->v[n] = (int32_t)v;
        return;
    }
    a = decay(a, get(&p->keep_a, n));
    value = v > get(&p->threshold, n) + a;
    if (p->kind == NET_TERNARY) value -= v < get(&p->lowest, n);
    if (wait) {
        value = 0;
        v = old;
        wait--;
    }
    if (value) {
        v = p->hard ? get(&p->reset, n) : v - get(&p->reset, n) - a;
        a += get(&p->rise, n);
        a = a >= STATE_LIMIT ? STATE_LIMIT - 1 : a;
        wait = p->refractory;
        fire(p, n, value);
    }
    p->v[n] = (int32_t)v;
    if (p->a) p->a[n] = (int32_t)a;
    if (p->wait) p->wait[n] = (uint8_t)wait;
}

/* One tick of a delta or a sigma_delta neuron, which sends changes of y, or of a sigma. */
static void step_coder(const net_population *p, uint32_t n, int32_t x)
{
    int64_t y = (int64_t)x * p->gain;
    int32_t d, decides;

    if (p->kind != NET_DELTA) {
        y = p->v[n] = require((int64_t)p->v[n] + x, STATE_LIMIT);
    }
    if (p->kind == NET_SIGMA) return;
    if (p->kind == NET_SIGMA_DELTA) {
        y += now >= p->bias_after ? get(&p->bias, n) : 0;
        y = p->relu && y < 0 ? 0 : y;
    }
    d = decides = require(y - p->a[n] + p->residue[n], STATE_LIMIT);
    if (p->cumulative) {
        decides = p->error[n] = require((int64_t)p->error[n] + d, STATE_LIMIT);
    }
    p->a[n] = require(y, STATE_LIMIT);
    p->residue[n] = d;
    if ((decides < 0 ? -decides : decides) >= get(&p->threshold, n)) {
        const int64_t message = divide_down(d, p->divisor);
        p->residue[n] = 0;
        if (p->cumulative) p->error[n] = 0;
        if (message < p->low || message > p->high) {
            status = NET_OVERFLOW;
        } else if (message) {
            fire(p, n, (int32_t)message);
        }
    }
}

static void step(const net_population *p)
{
    const uint32_t pixels = p->size / p->channels;
    uint32_t n = 0;

    if (p->interval && now % p->interval == p->offset) clear(p);
    for (uint32_t channel = 0; channel < p->channels; channel++) {
        uint32_t place = channel;
        for (uint32_t pixel = 0; pixel < pixels; pixel++, n++, place += p->channels) {
            const int32_t x = take(p, n, place);
            (p->kind < NET_DELTA ? step_neuron : step_coder)(p, n, x);
        }
    }
}

/* Add a row of weights from index first on, times scale, to the sums. */
static void add_row(
    net_sum *restrict sums, const net_connection *c, size_t first, uint32_t count, net_sum scale)
{
    if (c->narrow) {
        const int8_t *restrict weight = c->narrow + first;
        for (uint32_t i = 0; i < count; i++) sums[i] += scale * weight[i];
    } else {
        const int16_t *restrict weight = c->wide + first;
        for (uint32_t i = 0; i < count; i++) sums[i] += scale * weight[i];
    }
}

static void add_listed(net_sum *sums, const net_connection *c, uint32_t source, net_sum scale)
{
    for (uint32_t i = c->start[source]; i < c->start[source + 1]; i++) {
        sums[c->target[i]] += scale * (c->narrow ? c->narrow[i] : c->wide[i]);
    }
}

static void add_kernel(net_sum *sums, const net_connection *c, uint32_t source, net_sum scale)
{
    const net_conv *k = c->conv;
    const uint32_t pixels = k->height * k->width;
    const uint32_t y = source % pixels / k->width + k->padding_y;
    const uint32_t x = source % k->width + k->padding_x;
    const size_t row = k->out_channels;
    const uint32_t channel = source / pixels, count = k->group_out;
    size_t first = (size_t)channel * k->kernel_height * k->kernel_width * count;

    sums += channel / k->group_in * count;
    for (uint32_t ky = 0; ky < k->kernel_height; ky++) {
        for (uint32_t kx = 0; kx < k->kernel_width; kx++, first += count) {
            const uint32_t dy = ky * k->dilation_y, dx = kx * k->dilation_x;
            uint32_t oy, ox;
            if (dy > y || dx > x || (y - dy) % k->stride_y || (x - dx) % k->stride_x) continue;
            oy = (y - dy) / k->stride_y;
            ox = (x - dx) / k->stride_x;
            if (oy >= k->out_height || ox >= k->out_width) continue;
            add_row(sums + (oy * k->out_width + ox) * row, c, first, count, scale);
        }
    }
}

static void deliver(const net_population *p, const net_connection *c)
{
    const net_port *port = &net_ports[c->port];
    net_sum *sums = find_slot(port, now + c->delay);
    const uint32_t count = counts[p - net_populations];

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t source = p->fired[i];
        const net_sum scale = (net_sum)(p->sent ? p->sent[i] : 1) * (net_sum)c->factor;
        if (c->delays_in) sums = find_slot(port, now + c->delay + c->delays_in[source]);
        switch (c->route) {
        case NET_DENSE: add_row(sums, c, (size_t)source * port->size, port->size, scale); break;
        case NET_CONV: add_kernel(sums, c, source, scale); break;
        case NET_SPARSE: add_listed(sums, c, source, scale); break;
        case NET_IDENTITY: add_row(sums + source, c, source, 1, scale); break;
        }
    }
}

void net_reset(void)
{
    now = 0;
    sending = 0;
    status = NET_OK;
    memset(counts, 0, sizeof counts);
    for (uint32_t i = 0; i < NET_POPULATIONS; i++) clear(&net_populations[i]);
    for (uint32_t k = 0; k < NET_PORTS; k++) {
        const size_t size = net_ports[k].size;
        memset(net_ports[k].sums, 0, net_ports[k].slots * size * sizeof(net_sum));
    }
}

enum net_status net_send(uint32_t population, uint32_t neuron, int32_t value)
{
    const net_population *p;
    uint32_t count;

    if (!sending) {
        memset(counts, 0, sizeof counts);
        sending = 1;
    }
    if (population >= NET_POPULATIONS) return NET_BAD_INPUT;
    p = &net_populations[population];
    if (p->kind != NET_INPUT || neuron >= p->size) return NET_BAD_INPUT;
    if (value < p->low || value > p->high) return NET_BAD_INPUT;
    count = counts[population];
    if (count && neuron <= p->fired[count - 1]) return NET_BAD_INPUT;
    if (value) fire(p, neuron, value);
    return NET_OK;
}

enum net_status net_tick(void)
{
    if (!sending) memset(counts, 0, sizeof counts);
    sending = 0;
    if (status == NET_OK && now >= NET_TICKS) status = NET_TOO_LONG;
    if (status != NET_OK) return status;
    for (uint32_t k = 0; k < NET_PORTS; k++) {
        const net_port *port = &net_ports[k];
        slots[k] = find_slot(port, now);
    }
    for (const net_population *p = net_populations; p < net_populations + NET_POPULATIONS; p++) {
        if (p->kind != NET_INPUT) step(p);
        for (uint32_t i = p->first_connection; i < p->end_connection; i++) {
            deliver(p, &net_connections[i]);
        }
    }
    now++;
    return status;
}

uint32_t net_fired(uint32_t population)
{
    return counts[population];
}
