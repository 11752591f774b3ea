/* Runs one network of integers (semantics "loihi-int/1") tick by tick, without malloc.
 *
 *     net_reset();
 *     for (;;) {
 *         net_send(NET_INPUT_NAME, neuron, 1);     for every input spike, neurons ascending
 *         if (net_tick() != NET_OK) ...;
 *         net_fired(NET_NAME), net_populations[NET_NAME].fired[i], ...v[n]
 *     }
 *
 * After an error the states have no meaning until net_reset(). */
#ifndef NET_RUNTIME_H
#define NET_RUNTIME_H

#include <stdint.h>

#include "network.h" /* net_sum, net_current, net_index, net_delay, NET_TICKS, the indices */

enum net_status {
    NET_OK = 0,
    NET_BAD_INPUT, /* no such input or neuron, neurons not ascending, a value out of range */
    NET_TOO_LONG,  /* more than NET_TICKS ticks: sums of more may not fit */
    NET_OVERFLOW   /* a sum, a state or a message is wider than its register */
};

enum net_kind { NET_INPUT, NET_LIF, NET_LI, NET_TERNARY, NET_DELTA, NET_SIGMA_DELTA, NET_SIGMA };
enum net_route { NET_DENSE, NET_CONV, NET_SPARSE, NET_IDENTITY };

/* A parameter: one value, or (each) one per neuron. */
typedef struct {
    const int32_t *values;
    uint8_t each;
} net_param;

/* Sums on their way to a population: slot (tick mod slots) belongs to a tick.
 * channels > 1: a slot is laid out channel last. */
typedef struct {
    net_sum *sums;
    uint32_t size;
    uint32_t slots;
    uint32_t channels;
    int32_t divisor; /* of the sum of a tick, rounded down */
    uint8_t modulo;  /* whether the sum of a tick keeps 24 bits */
    const net_delay *delays_out; /* ticks that the sum of each neuron waits, or NULL */
} net_port;

typedef struct {
    uint32_t height, width, kernel_height, kernel_width;
    uint32_t stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    uint32_t out_channels, out_height, out_width;
    uint32_t group_in, group_out; /* channels of one group */
} net_conv;

/* Weights: dense [source][target]; conv [channel][ky][kx][out channel of its group];
 * sparse by source. */
typedef struct {
    enum net_route route;
    uint16_t port;
    uint32_t delay;
    int32_t factor; /* of a stored weight */
    const int8_t *narrow; /* the weights, or NULL */
    const int16_t *wide;  /* the weights where they need 16 bits, or NULL */
    const uint32_t *start;   /* sparse: the first synapse of each source, and the end */
    const net_index *target; /* sparse: the target of each synapse */
    const net_conv *conv;
    const net_delay *delays_in; /* ticks that the spikes of each source wait, or NULL */
} net_connection;

typedef struct {
    enum net_kind kind;
    uint32_t size;
    uint32_t channels; /* of the order in which neurons are stepped */
    uint16_t first_port, end_port;
    uint16_t first_connection, end_connection; /* those that leave the population */
    uint32_t bias_after, interval, offset;
    uint8_t hard, refractory, relu, cumulative;
    int32_t gain, divisor; /* of the sums of a delta, of messages */
    int32_t low, high;     /* the least and the largest spike */
    /* in units of v: decays are the kept share of 4096 */
    net_param keep_u, keep_v, keep_a, threshold, lowest, reset, rise, bias;
    /* RAM; NULL: the state is always 0 */
    net_current *u; /* also NULL where u keeps nothing of the tick before */
    int32_t *v;     /* v, or sigma */
    int32_t *a;     /* the adaptation, or act */
    int32_t *residue, *error;
    uint8_t *wait;
    net_index *fired; /* neurons that fired in the last tick, ascending; NULL: a read-out */
    int32_t *sent;    /* values of their spikes; NULL: all are 1 */
} net_population;

extern const net_population net_populations[]; /* in the order of a tick */
extern const net_port net_ports[];
extern const net_connection net_connections[];

void net_reset(void);
enum net_status net_send(uint32_t population, uint32_t neuron, int32_t value);
enum net_status net_tick(void);
uint32_t net_fired(uint32_t population); /* number of spikes in the last tick */

#endif
