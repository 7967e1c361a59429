/* A list that several threads may read and add to without a lock: a node never changes once it is in. */
#ifndef FC_LIST_H
#define FC_LIST_H

typedef struct fc_node {
    struct fc_node *next;
} fc_node;

static inline fc_node *fc_first(fc_node *const *list)
{
    return __atomic_load_n(list, __ATOMIC_ACQUIRE);
}

/* Put a node in front of `first`. False if another thread was faster: `first` is not the list's first any more. */
static inline int fc_push(fc_node **list, fc_node *first, fc_node *node)
{
    node->next = first;
    return __atomic_compare_exchange_n(list, &first, node, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

#endif
